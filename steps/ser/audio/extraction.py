"""One job of a feature stage: its share of the utterances, from audio to an archive."""

from pathlib import Path

from ser.audio.waveform import SAMPLE_RATE, load_audio
from ser.base.errors import UserError
from ser.base.log import log, progress
from ser.data.archives import write_archive
from ser.data.data_dir import read_table


def _position(seconds):
    position = round(float(seconds) * SAMPLE_RATE)
    if position < 0:
        raise ValueError(seconds)
    return position


class Recordings:
    """The audio behind the utterances of a data directory, with or without `segments`.

    Parameters
    ----------
    data_dir : str or Path
    load : callable
        Reads an entry of wav.scp as load_audio() does.

    Raises
    ------
    UserError
        A table is missing or damaged.
    """

    def __init__(self, data_dir, load=load_audio):
        data_dir = Path(data_dir)
        self.sources, self.load = read_table(data_dir / "wav.scp"), load
        self.segments = {}
        if (data_dir / "segments").exists():
            for utt, line in read_table(data_dir / "segments", columns=4).items():
                recording, *times = line.split()
                try:
                    self.segments[utt] = (recording, *map(_position, times))
                except (ValueError, OverflowError):
                    raise UserError(f"{data_dir}/segments: {utt}: expected 'recording start end', times in seconds, "
                                    f"found {line!r}") from None
        self.utts = sorted(self.segments or self.sources)
        self._last = None, None

    def __getitem__(self, utt):
        """Samples of an utterance, float32 at 16 kHz and int16 scale; raises UserError."""
        recording, start, end = self.segments.get(utt, (utt, 0, None))
        if recording not in self.sources:
            raise UserError(f"recording {recording}: not in wav.scp")
        if end is None:
            return self.load(self.sources[utt])
        if self._last[0] != recording:
            self._last = recording, self.load(self.sources[recording])
        samples = self._last[1][start:end]
        if not len(samples):
            raise UserError(f"segment {start / SAMPLE_RATE:g} to {end / SAMPLE_RATE:g} s holds nothing of "
                            f"{self.sources[recording]}")
        return samples


def extract(recordings, utts, function, prefix):
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

    def items():
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
    log(f"wrote {len(samples_of)} of {len(utts)} utterances to {prefix}.ark")
    return samples_of
