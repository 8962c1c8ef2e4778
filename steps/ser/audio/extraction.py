"""One job of a feature stage: its share of the utterances, from audio to an archive."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ser.audio.frames import FrameGrid
from ser.audio.sound_check import audio_digest, sound_problem
from ser.audio.waveform import SAMPLE_RATE, load_audio
from ser.base.errors import UserError
from ser.base.log import counted, log, progress
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table

_OVERSHOOT = 0.5  # seconds that a segment may end after its recording, as in Kaldi's extract-segments


class Segment(NamedTuple):
    """An utterance as a part of a recording; start and end count samples, an end of None is that of the recording."""

    recording: str
    start: int
    end: int | None


class Load(Protocol):
    """Reads an entry of wav.scp, as load_audio() does."""

    def __call__(self, source: str, /, cut: bool = False) -> np.ndarray: ...


def parse_segment(line: str) -> Segment:
    """Read `recording start end`, times in seconds, where an end of -1 is that of the recording; raises UserError."""
    recording, *times = line.split()
    try:
        start, end = map(float, times)
        if not (0 <= start < end < float("inf") or (0 <= start < float("inf") and end == -1)):
            raise ValueError(line)
    except ValueError:
        raise UserError(f"expected 'recording start end', times in seconds and an end of -1 for that of the recording, "
                        f"found {line!r}") from None
    return Segment(recording, round(start * SAMPLE_RATE), None if end == -1 else round(end * SAMPLE_RATE))


def _read_segments(path: Path) -> dict[str, Segment]:
    """Read `segments`; raises UserError."""
    segments = {}
    for utt, line in read_table(path, columns=4).items():
        try:
            segments[utt] = parse_segment(line)
        except UserError as error:
            raise UserError(f"{path}: {utt}: {error}") from None
    return segments


class Recordings:
    """The audio of the utterances of a data directory, with or without `segments`.

    Parameters
    ----------
    data_dir : str or Path
    load : callable
        Reads an entry of wav.scp as load_audio() does.

    Attributes
    ----------
    utts : list of str
        Sorted.

    Raises
    ------
    UserError
        A table is missing or damaged.
    """

    def __init__(self, data_dir: str | Path, load: Load = load_audio):
        data_dir = Path(data_dir)
        self.load = load
        self.sources = read_table(data_dir / "wav.scp")
        self.segments = _read_segments(data_dir / "segments") if (data_dir / "segments").exists() else {}
        self.utts = sorted(self.segments or self.sources)
        # The last recording, for the next of its segments.
        self._recording = ""
        self._samples = np.empty(0, np.float32)

    def __getitem__(self, utt: str) -> np.ndarray:
        """Samples of an utterance, float32 at 16 kHz and int16 scale; raises UserError."""
        segment = self.segments.get(utt)
        recording = segment.recording if segment else utt
        if recording not in self.sources:
            raise UserError(f"recording {recording}: not in wav.scp")
        if segment is None:
            return self.load(self.sources[utt])
        if self._recording != recording:
            self._samples = self.load(self.sources[recording], cut=True)
            self._recording = recording
        length = len(self._samples)
        end = length if segment.end is None else segment.end
        if segment.start >= length or end > length + _OVERSHOOT * SAMPLE_RATE:
            raise UserError(f"segment {segment.start / SAMPLE_RATE:g} to {end / SAMPLE_RATE:g} s is not in "
                            f"{self.sources[recording]}, which ends at {length / SAMPLE_RATE:g} s")
        return self._samples[segment.start : end]


def extract(recordings: Recordings, utts: Sequence[str], function: Callable[[str, np.ndarray], np.ndarray],
            prefix: str) -> dict[str, int]:
    """Apply `function(utt, samples)` to utterances and write `prefix.ark` and `prefix.scp`.

    Parameters
    ----------
    recordings : Recordings
    utts : list of str
    function : callable
        Gives a float32 array; a UserError or an array without rows makes the utterance fail.
    prefix : str

    Returns
    -------
    dict of str to int
        Samples of each utterance that came out. The others are named in the log.
    """
    samples_of = {}

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for utt in progress(utts, unit="utt"):
            try:
                samples = recordings[utt]
                array = function(utt, samples)
                if not len(array):
                    raise UserError(f"{len(samples)} samples are shorter than one window")
            except UserError as error:
                log(f"skipping {utt}: {error}")
                continue
            samples_of[utt] = len(samples)
            yield utt, array

    write_archive(prefix, items())
    log(f"wrote {len(samples_of)} of {counted(len(utts), 'utterance')} to {prefix}.ark")
    return samples_of


def extract_features(recordings: Recordings, utts: Sequence[str], function: Callable[[np.ndarray], np.ndarray],
                     grid: FrameGrid, prefix: str) -> None:
    """Write the features of utterances as extract() does, and tables that tell of their sound.

    Parameters
    ----------
    recordings : Recordings
    utts : list of str
    function : callable
        Makes a matrix `[frames, dimension]` of samples; one without rows makes the utterance fail.
    grid : FrameGrid
        Where these frames lie.
    prefix : str
        Beside the archive come `prefix.utt2num_frames`, `prefix.utt2dur` (seconds), `prefix.utt2audio_digest` and, of
        those that are silent, clipped or constant, `prefix.utt2audio_problem`.
    """
    digests = {}
    problems = {}

    def features(utt: str, samples: np.ndarray) -> np.ndarray:
        matrix = function(samples)
        if len(matrix):
            digests[utt] = audio_digest(samples)
            problem = sound_problem(samples)
            if problem:
                problems[utt] = problem
        return matrix

    num_samples = extract(recordings, utts, features, prefix)
    write_table(f"{prefix}.utt2num_frames", {utt: grid.num_frames(n) for utt, n in num_samples.items()})
    write_table(f"{prefix}.utt2dur", {utt: f"{n / SAMPLE_RATE:.5f}" for utt, n in num_samples.items()})
    write_table(f"{prefix}.utt2audio_digest", digests)
    write_table(f"{prefix}.utt2audio_problem", problems)
