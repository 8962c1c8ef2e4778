"""The emotion of recordings by a trained model, or by the mean of several: from sound to a label, or to why none."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ser.audio.any_format import sound_blocks
from ser.audio.fbank import FbankExtractor
from ser.audio.segments import LONGEST, SHORTEST_VOICE, Segmentation
from ser.audio.sound_check import sound_problem
from ser.audio.vad import voiced_frames
from ser.audio.waveform import SAMPLE_RATE, joined
from ser.base.errors import UserError
from ser.data.voiced_features import voiced_and_normalized
from ser.infer.input_format import InputFormat

# A file, float32 samples at 16 kHz in units of 1/32768 of full scale, or blocks of such.
Source = str | Path | np.ndarray | Iterable[np.ndarray]

# Why there is no label.
TOO_SHORT = "too short"
SILENT = "silent"
NO_SPEECH = "no speech"
UNSURE = "unsure"


@dataclass(frozen=True)
class Prediction:
    """What a model says of a part of a recording.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording.
    label : str or None
        The most probable class; None where there is a reason to name none.
    probabilities : dict of str to float
        Of every class, in the order of the model; they sum to 1. Empty where the network was not asked.
    reason : str or None
        Why there is no label. `silent`: nothing is louder than -60 dB of full scale. `no speech`: the voice activity
        detection finds none. `too short`: no stretch of 0.2 s is voiced, or all is shorter than a window of the
        features. `unsure`: the most probable class is less probable than the least that was asked for.
    """

    start: float
    end: float
    label: str | None
    probabilities: dict[str, float]
    reason: str | None


class Network(Protocol):
    """Gives probabilities `[classes]` of one utterance's features, float32 `[frames, dimension]`; its library's FFT is
    at hand for the features, as FbankExtractor takes it."""

    def score(self, features: np.ndarray, /) -> np.ndarray: ...

    def rfft(self, frames: np.ndarray, /, axis: int) -> np.ndarray: ...


class EmotionRecognizer:
    """A network, or several whose probabilities are averaged, and how its features are made; made by load_model().

    Parameters
    ----------
    network : Network
    input_format : InputFormat
    min_probability : float
        As in load_model().

    Raises
    ------
    UserError
        The features are not made of sound here, or min_probability is none.

    Attributes
    ----------
    classes : list of str
    network : Network
    input_format : InputFormat
    """

    def __init__(self, network: Network, input_format: InputFormat, min_probability: float = 0.0):
        if not 0 <= min_probability <= 1:
            raise UserError(f"min-probability must lie between 0 and 1, not be {min_probability:g}")
        if not input_format.takes_sound:
            raise UserError(f"{input_format.origin}: was trained on features that are no filterbanks, and takes no "
                            "sound; steps/score.py scores a data directory that has such features")
        self.network = network
        self.input_format = input_format
        self.classes = list(input_format.classes)
        self.min_probability = min_probability
        self._fbank = input_format.fbank
        self._vad = input_format.vad
        self._extract = FbankExtractor(self._fbank, network.rfft)

    def predict(self, source: Source) -> Prediction:
        """Recognize the emotion of a recording as one utterance.

        Parameters
        ----------
        source : str, Path, numpy.ndarray or iterable of numpy.ndarray
            A file that libsndfile or ffmpeg reads; or float32 samples at 16 kHz in units of 1/32768 of full scale, in
            one array or in blocks.

        Returns
        -------
        Prediction

        Raises
        ------
        UserError
            The file cannot be read, or it is longer than ten minutes.
        """
        samples = source if isinstance(source, np.ndarray) else joined(_up_to_longest(_blocks_of(source)))
        if len(samples) > LONGEST * SAMPLE_RATE:
            raise UserError(_TOO_LONG)
        return self._prediction(samples, 0)

    def time_line(self, source: Source, segmentation: Segmentation) -> Iterator[Prediction]:
        """Recognize the emotion of a recording part by part, each as if it were an utterance.

        Parameters
        ----------
        source : str, Path, numpy.ndarray or iterable of numpy.ndarray
            As in predict(), of any length: only what a segment needs is in memory.
        segmentation : Segmentation
            Windows or VoiceSegments of ser.audio.segments.

        Yields
        ------
        Prediction
            As soon as its part has been read; raises UserError for a file that cannot be read.
        """
        for segment in segmentation.segments(_blocks_of(source), self._vad):
            if segment.samples is None:
                yield Prediction(segment.start / SAMPLE_RATE, segment.end / SAMPLE_RATE, None, {}, NO_SPEECH)
            else:
                yield self._prediction(segment.samples, segment.start)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """The networks' input for an utterance: voiced and normalized frames, float32 `[frames, dimension]`.

        Parameters
        ----------
        samples : numpy.ndarray
            As in predict(). Where nothing is voiced, all frames are kept, as in training.
        """
        return self._features(samples, self._voiced(samples))

    def _voiced(self, samples: np.ndarray) -> np.ndarray:
        return voiced_frames(samples, self._fbank, self._vad) > 0

    def _features(self, samples: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        return voiced_and_normalized(self._extract(samples), voiced, self.input_format.feature_norm)

    def _prediction(self, samples: np.ndarray, start: int) -> Prediction:
        """Of samples that begin at sample `start` of the recording."""
        begin = start / SAMPLE_RATE
        end = (start + len(samples)) / SAMPLE_RATE
        voiced = self._voiced(samples)
        reason = self._reason_for_none(samples, voiced)
        if reason:
            return Prediction(begin, end, None, {}, reason)
        scores = self.network.score(self._features(samples, voiced))
        probabilities = dict(zip(self.classes, scores.tolist(), strict=True))
        label = max(probabilities, key=probabilities.__getitem__)
        if probabilities[label] < self.min_probability:
            return Prediction(begin, end, None, probabilities, UNSURE)
        return Prediction(begin, end, label, probabilities, None)

    def _reason_for_none(self, samples: np.ndarray, voiced: np.ndarray) -> str | None:
        """Why a sound cannot have an emotion, or None."""
        if not len(voiced):
            return TOO_SHORT
        if sound_problem(samples) in ("silent", "constant"):
            return SILENT
        if not voiced.any():
            return NO_SPEECH
        edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False))  # of each stretch of voice in turn
        longest = np.max(edges[1::2] - edges[::2])
        if self._fbank.window_samples + (longest - 1) * self._fbank.shift_samples < SHORTEST_VOICE:
            return TOO_SHORT
        return None


_TOO_LONG = (f"more than {LONGEST} s are too long for one utterance; take it in parts (steps/predict.py --segment vad, "
             "or window)")


def _blocks_of(source: Source) -> Iterable[np.ndarray]:
    if isinstance(source, np.ndarray):
        return [source]
    return sound_blocks(source) if isinstance(source, str | Path) else source


def _up_to_longest(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass blocks on, and raise UserError where one utterance would be too long."""
    total = 0
    for block in blocks:
        total += len(block)
        if total > LONGEST * SAMPLE_RATE:
            raise UserError(_TOO_LONG)
        yield block


def load_model(model: str | Path, min_probability: float = 0.0) -> EmotionRecognizer:
    """Load a trained model to use it; nothing in it is executed.

    Parameters
    ----------
    model : str or Path
        A model directory of steps/finetune.py; a folder of such, as one for each fold of a system, whose probabilities,
        each with the temperature of its calibration.json, are averaged (one called `final` is not of the folds, and is
        named itself); or an ONNX file of steps/export.py, which is loaded without torch.
    min_probability : float
        A most probable class below this gets no label, but the reason `unsure`.

    Returns
    -------
    EmotionRecognizer

    Raises
    ------
    UserError
        A file is missing or damaged, a training is not finished, the folds differ in classes or features, or these are
        no filterbanks.

    Examples
    --------
    >>> load_model("exp/vgg5_ad").predict("x.wav").probabilities  # doctest: +SKIP
    {'ang': 0.81, 'hap': 0.11, 'neu': 0.05, 'sad': 0.03}
    """
    path = Path(model)
    if path.suffix == ".onnx" and not path.is_dir():
        from ser.infer.onnx_network import OnnxNetwork

        exported = OnnxNetwork(path)
        return EmotionRecognizer(exported, exported.format, min_probability)
    from ser.infer.probability_network import load_networks  # torch takes a second to import

    return EmotionRecognizer(*load_networks(path), min_probability)
