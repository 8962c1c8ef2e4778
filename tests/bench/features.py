"""How fast the feature stage is, in seconds of audio a second (x), and how much memory it takes.

Processor time of one thread, so that other work on the machine does not count; of the scripts the time on the clock,
start included. The whole stage reads every file twice, as its two scripts do, and writes both archives;
kaldi-native-fbank has the samples in memory and makes filterbanks alone. Memory, which hardly varies, is measured once.
Counted of the limits are filterbanks' operations, and a sound of 16 bits that is read once or twice.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import kaldi_native_fbank as knf
import librosa
import numpy as np
import soundfile

from limits import least_seconds
from ser.audio.extraction import Recordings, extract
from ser.audio.fbank import FbankConfig, FbankExtractor, mel_filters
from ser.audio.vad import VadConfig, voiced_frames
from ser.audio.waveform import SAMPLE_RATE
from ser.data.data_dir import read_table, write_data_dir
from table import ROOT, in_turns, row

sys.path.insert(0, str(ROOT))
from local.mini.voxceleb1 import plan_voxceleb1  # noqa: E402

CONFIG, VAD_CONFIG = FbankConfig(), VadConfig()
SCRIPTS = "steps/make_fbank.sh", "steps/compute_vad.sh"
COPIES = 20  # of the synthetic speech are two hours, beside which the start of scripts is short
HOUR_MB = 3600 * SAMPLE_RATE * 4 / 2**20
PEAK = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")


def data_dir(folder, wav):
    write_data_dir(folder, wav=wav, utt2spk={utt: utt for utt in wav}, dataset="synthetic-bench")
    return folder


def synthetic_speech(folder):
    """Turns of about five seconds as 16-bit wav files; returns `{utterance: path}`."""
    recordings, _ = plan_voxceleb1(seed=0, speakers=24, utterances=9)
    wav = {f"utt{number:03d}": folder / f"{number:03d}.wav" for number in range(0, len(recordings), 3)}
    for number, path in zip(range(0, len(recordings), 3), wav.values(), strict=True):
        sound = np.concatenate([recording.render() for recording in recordings[number : number + 3]])
        soundfile.write(path, sound, SAMPLE_RATE, subtype="PCM_16")
    return wav


def hour_of_noise(folder, rate, channels):
    minute = np.random.default_rng(0).normal(0, 0.1, (60 * rate, channels))
    with soundfile.SoundFile(folder / f"{rate}.wav", "w", rate, channels, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    return data_dir(folder / f"hour at {rate}", {"hour": folder / f"{rate}.wav"})


def kaldi_fbank(samples):
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type, options.frame_opts.frame_length_ms = CONFIG.window_type, CONFIG.frame_length
    options.mel_opts.num_bins = CONFIG.num_mel_bins
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, samples)
    fbank.input_finished()
    return np.array([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)])


def librosa_fbank(samples):
    return np.log(librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=1024, win_length=640, hop_length=160,
                                                 n_mels=41, center=False) + 1e-7)


def whole_stage(data, folder):
    extractor = FbankExtractor(CONFIG)
    for name, function in {"fbank": lambda utt, samples: extractor(samples),
                           "vad": lambda utt, samples: voiced_frames(samples, CONFIG, VAD_CONFIG)}.items():
        recordings = Recordings(data)
        with contextlib.redirect_stderr(io.StringIO()):
            extract(recordings, recordings.utts, function, folder / name)


def run_scripts(data, nj):
    for script in SCRIPTS:
        subprocess.run([script, "--nj", str(nj), data], cwd=ROOT, check=True, capture_output=True)


def peak_mb(data):
    """The most that a process of the scripts holds; counted in a child, because a child starts with its parent's."""
    return max(int(subprocess.run([sys.executable, "-c", PEAK, script, "--nj", "1", data], cwd=ROOT, check=True,
                                  capture_output=True).stdout) for script in SCRIPTS) / 1024


def operations_of_a_second(fft_size=1024):
    """Multiplications and additions of the Fourier transforms, powers and filters of a second of sound."""
    filters = mel_filters(CONFIG, fft_size)
    return 100 * (2.5 * fft_size * np.log2(fft_size) + 3 * len(filters) + 2 * np.count_nonzero(filters))


def speed(duration, clock, work, *words):
    """Seconds of sound a second, by a function that tells the time."""
    start = clock()
    work(*words)
    return duration / (clock() - start)


def features_of(sounds, extractor):
    return [extractor(samples) for samples in sounds]


def rows(data=None):
    """Yield rows (table.row); of a Kaldi data directory `data` when there is one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if data:
            once = long = folder / "data"
            subprocess.run(["local/kaldi_data_prep.py", Path(data).absolute(), once], cwd=ROOT, check=True, stdout=2)
        else:
            wav = synthetic_speech(folder)
            once = data_dir(folder / "once", wav)
            long = data_dir(folder / "long", {f"{utt}-{n}": path for utt, path in wav.items() for n in range(COPIES)})
        recordings = Recordings(once)
        sounds = [recordings[utt] for utt in recordings.utts]
        work_of = partial(speed, sum(map(len, sounds)) / SAMPLE_RATE, time.process_time)
        fbank, kaldi, of_librosa = (partial(work_of, features_of, sounds, extractor)
                                    for extractor in (FbankExtractor(CONFIG), kaldi_fbank, librosa_fbank))
        librosa_fbank(sounds[0])  # which imports much when it is first called
        stage = partial(work_of, whole_stage, once, folder / "archives")
        run_scripts(long, 2)
        duration = sum(map(float, read_table(long / "utt2dur").values()))
        one_job, two_jobs = (partial(speed, duration, time.perf_counter, run_scripts, long, nj) for nj in (1, 2))
        operations, read = operations_of_a_second(), 2 * 2 * SAMPLE_RATE
        in_memory = least_seconds(operations, moved=4 * (SAMPLE_RATE + 100 * CONFIG.dimension))
        from_files = least_seconds(operations, read=read)
        for work, ours, theirs, least in (
                ("fbank; kaldi-native-fbank", fbank, kaldi, in_memory),
                ("fbank; librosa melspectrogram", fbank, of_librosa, in_memory),
                ("whole stage; kaldi-native-fbank", stage, kaldi, from_files),
                (f"scripts on {duration / 3600:.1f} h, --nj 1; kaldi-native-fbank", one_job, kaldi, from_files),
                ("scripts, --nj 2; --nj 1", two_jobs, one_job, least_seconds(operations, read=read, threads=2))):
            yield row(work, in_turns(ours, theirs), "x", least)
        if not data:
            yield row(f"memory, {COPIES} x the corpus; the corpus", [(peak_mb(long), peak_mb(once))], "MB",
                      smaller_is_better=True)
        for rate, channels in ((16000, 1), (44100, 2)):
            yield row(f"memory, {channels} x {rate} Hz, 1 hour; float32 at 16 kHz",
                      [(peak_mb(hour_of_noise(folder, rate, channels)), HOUR_MB)], "MB", smaller_is_better=True)
