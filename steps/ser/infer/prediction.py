"""The emotion of recordings by a trained model, or by the mean of several: from sound to probabilities."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.audio.any_format import load_sound_file
from ser.audio.fbank import FbankConfig, FbankExtractor
from ser.audio.vad import VadConfig, voiced_frames
from ser.audio.waveform import SAMPLE_RATE
from ser.base.conf import config_from
from ser.base.errors import UserError
from ser.data.voiced_features import voiced_and_normalized
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.record import is_filterbank
from ser.nn.models import EmotionModel

Source = str | Path | np.ndarray  # a file, or float32 samples at 16 kHz

_LONGEST = 600  # seconds as one utterance: more take gigabytes, and one label says little of them


@dataclass(frozen=True)
class Prediction:
    """What a model says of a part of a recording.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording.
    label : str
        The most probable class.
    probabilities : dict of str to float
        Of every class, in the order of the model; they sum to 1.
    voiced : bool
        Whether the VAD found anything voiced; else all frames were used, of what may be no speech.
    """

    start: float
    end: float
    label: str
    probabilities: dict[str, float]
    voiced: bool


class EmotionRecognizer:
    """Networks of the same classes and features, whose probabilities are averaged; made by load_model().

    Parameters
    ----------
    networks : list of EmotionModel
        On the CPU, in evaluation mode.
    config : dict
        A checked config.json that holds for all of them.
    path : str or Path
        What messages call the configuration.

    Attributes
    ----------
    classes : list of str
    networks : list of EmotionModel
    feature_configuration : dict of str to str
        What makes the networks' input out of 16 kHz sound: the texts of `fbank.conf` and `vad.conf`, and `feature_norm`
        (ser.data.normalization.PER_UTTERANCE). Where the features are others, what is known of them.
    dimension : int
        Features per frame.
    takes_sound : bool
        Whether the features are filterbanks, which are made here; other networks can be exported and scored.

    Raises
    ------
    UserError
        The configuration does not say how the features were made.
    """

    def __init__(self, networks: list[EmotionModel], config: dict[str, Any], path: str | Path):
        self.networks = networks
        self.classes: list[str] = config["classes"]
        self.dimension: int = config["dimension"]
        self.path = path
        self.takes_sound = is_filterbank(config["features"])
        if not self.takes_sound:
            self.feature_configuration = {**config["features"], "feature_norm": config["options"]["feature_norm"]}
            return
        for name in ("fbank.conf", "vad.conf"):
            if name not in config["features"]:
                raise UserError(f"{path}: does not say with which {name} the features were made; make them with "
                                "steps/make_fbank.sh and steps/compute_vad.sh, and train again")
        texts = {name: config["features"][name] for name in ("fbank.conf", "vad.conf")}
        self.feature_configuration = {**texts, "feature_norm": config["options"]["feature_norm"]}
        self._fbank = config_from(FbankConfig, texts["fbank.conf"], f"{path}: fbank.conf")
        self._vad = config_from(VadConfig, texts["vad.conf"], f"{path}: vad.conf")
        if self._fbank.dimension != self.dimension:
            raise UserError(f"{path}: fbank.conf makes {self._fbank.dimension} features per frame, "
                            f"the network takes {self.dimension}")
        self._extract = FbankExtractor(self._fbank)

    def predict(self, source: Source) -> Prediction:
        """Recognize the emotion of a recording as one utterance.

        Parameters
        ----------
        source : str, Path or numpy.ndarray
            A file that libsndfile or ffmpeg reads, or float32 samples at 16 kHz in units of 1/32768 of full scale.

        Returns
        -------
        Prediction

        Raises
        ------
        UserError
            The file cannot be read, or it is shorter than a window of the features or longer than ten minutes.
        """
        samples, seconds = self._samples_of(source)
        if seconds > _LONGEST:
            raise UserError(f"{_prefix(source)}{seconds:.0f} s are too long for one utterance; take it in segments "
                            "(steps/predict.py --segment 4)")
        return self._prediction(samples, 0.0)

    def time_line(self, source: Source, segment: float, hop: float | None = None) -> list[Prediction]:
        """Recognize the emotion of a recording piece by piece, each as if it were an utterance.

        Parameters
        ----------
        source : str, Path or numpy.ndarray
            As in predict(), of any length.
        segment : float
            Seconds of a piece; the last one ends with the recording, and is left out when it is shorter than a window
            of the features.
        hop : float, optional
            Seconds from the beginning of one piece to that of the next; by default `segment`.

        Returns
        -------
        list of Prediction

        Raises
        ------
        UserError
            As for predict(), or a segment is shorter than a window or longer than ten minutes, or the hop not positive.
        """
        hop = segment if hop is None else hop
        self.require_segments(segment, hop)
        samples, seconds = self._samples_of(source)
        num_pieces = 1 + max(0, math.ceil((seconds - segment) / hop))
        predictions = []
        for number in range(num_pieces):
            start = round(number * hop * SAMPLE_RATE)
            end = round((number * hop + segment) * SAMPLE_RATE)
            piece = samples[start:end]
            if self._fbank.num_frames(len(piece)):
                predictions.append(self._prediction(piece, start / SAMPLE_RATE))
        return predictions

    def require_sound(self) -> None:
        """Raise UserError unless the networks' features are made of sound here."""
        if not self.takes_sound:
            raise UserError(f"{self.path}: was trained on features that are no filterbanks, and takes no sound; "
                            "steps/score.py scores a data directory that has such features")

    def require_segments(self, segment: float, hop: float) -> None:
        """Raise UserError unless time_line() takes these lengths."""
        self.require_sound()
        window = self._fbank.window_samples / SAMPLE_RATE
        if not (window <= segment <= _LONGEST and 1 <= hop * SAMPLE_RATE < np.inf):
            raise UserError(f"segments of {segment:g} s every {hop:g} s cannot be; give {window:g} to {_LONGEST} s "
                            "and a hop above 0")

    def features(self, samples: np.ndarray) -> np.ndarray:
        """The networks' input for an utterance: voiced and normalized frames, float32 `[frames, dimension]`.

        Parameters
        ----------
        samples : numpy.ndarray
            As in predict().
        """
        self.require_sound()
        return self._features(samples)[0]

    def _features(self, samples: np.ndarray) -> tuple[np.ndarray, bool]:
        """The features(), and whether any frame is voiced."""
        voiced = voiced_frames(samples, self._fbank, self._vad) > 0
        features = voiced_and_normalized(self._extract(samples), voiced, self.feature_configuration["feature_norm"])
        return features, bool(voiced.any())

    def _samples_of(self, source: Source) -> tuple[np.ndarray, float]:
        self.require_sound()
        samples = source if isinstance(source, np.ndarray) else load_sound_file(source)
        seconds = len(samples) / SAMPLE_RATE
        if not self._fbank.num_frames(len(samples)):
            raise UserError(f"{_prefix(source)}{seconds:.3f} s are shorter than a window of the features")
        return samples, seconds

    def _prediction(self, samples: np.ndarray, start: float) -> Prediction:
        array, voiced = self._features(samples)
        features = torch.from_numpy(array)[None]  # [1, T, D]
        lengths = torch.tensor([features.shape[1]])
        total = torch.zeros(len(self.classes))
        with torch.inference_mode():
            for network in self.networks:
                logits = network(features, lengths)[0]  # [1, classes]
                total += torch.softmax(logits[0], 0)
        probabilities = (total / len(self.networks)).tolist()
        label = self.classes[int(np.argmax(probabilities))]
        return Prediction(start, start + len(samples) / SAMPLE_RATE, label,
                          dict(zip(self.classes, probabilities, strict=True)), voiced)


def _prefix(source: Source) -> str:
    return "" if isinstance(source, np.ndarray) else f"{source}: "


def load_model(model_dir: str | Path) -> EmotionRecognizer:
    """Load a trained model to use it; nothing in the directory is executed.

    Parameters
    ----------
    model_dir : str or Path
        A model directory of steps/finetune.py, or a folder of such, as one for each fold of a system: their
        probabilities are averaged.

    Returns
    -------
    EmotionRecognizer

    Raises
    ------
    UserError
        A file is missing or damaged, a training is not finished, or the folds differ in classes or features.

    Examples
    --------
    >>> load_model("exp/vgg5_ad").predict("x.wav").probabilities  # doctest: +SKIP
    {'ang': 0.81, 'hap': 0.11, 'neu': 0.05, 'sad': 0.03}
    """
    model_dir = Path(model_dir)
    folds = sorted(path.parent for path in model_dir.glob("*/config.json"))
    members = [model_dir] if (model_dir / "config.json").exists() else folds
    if not members:
        raise UserError(f"{model_dir}: not a model directory: there is no config.json in it or in a folder of it")
    networks: list[EmotionModel] = []
    common: dict[str, Any] = {}  # what must be the same for all
    for member in members:
        network, config = load_emotion_model(member)
        if (member / "state.safetensors").exists():
            raise UserError(f"{member}: its training is not finished; run steps/finetune.py again, it continues")
        own = {key: config[key] for key in ("classes", "dimension", "features")}
        own["feature_norm"] = config["options"]["feature_norm"]
        common = common or own
        differing = [key for key in own if own[key] != common[key]]
        if differing:
            raise UserError(f"{member}/config.json: {differing[0]} differs from that of {members[0]}, so their "
                            "probabilities cannot be averaged; name one of them")
        networks.append(network)
    return EmotionRecognizer(networks, config, members[0] / "config.json")
