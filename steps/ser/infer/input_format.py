"""What a trained network takes and gives: how its features are made of sound, and its classes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ser.audio.fbank import FbankConfig
from ser.audio.frames import ExtractedConfig, SslConfig
from ser.audio.vad import VadConfig
from ser.audio.waveform import SAMPLE_RATE
from ser.base.conf import conf_text, config_from
from ser.base.errors import UserError
from ser.data.feature_conf import is_filterbank
from ser.data.normalization import PER_UTTERANCE

_NORMALIZATIONS = {
    "none": "none",
    "corpus": "none before the network, which holds the mean and deviation of its training data",
    "utterance-mean": "minus the mean over the kept frames, in each dimension",
    "utterance": "minus the mean over the kept frames, divided by their deviation (square root of the mean squared "
                 "deviation, 0.001 or more), in each dimension",
}


@dataclass(frozen=True)
class InputFormat:
    """What a recognizer must know of its networks.

    Parameters
    ----------
    classes : tuple of str
        In the order of the probabilities.
    dimension : int
        Features per frame.
    features : dict of str to str
        The texts of fbank.conf, or what stands for it where the features are others, and vad.conf, by their names.
    feature_norm : str
        A name of ser.data.normalization.PER_UTTERANCE.
    origin : str
        What messages call the configuration.

    Attributes
    ----------
    takes_sound : bool
        Whether the features are filterbanks, which steps/predict.py makes of sound.
    fbank : FbankConfig
    vad : VadConfig

    Raises
    ------
    UserError
        A text is wrong, or makes features of another dimension.
    """

    classes: tuple[str, ...]
    dimension: int
    features: Mapping[str, str]
    feature_norm: str
    origin: str

    def __post_init__(self) -> None:
        if self.feature_norm not in PER_UTTERANCE:
            raise UserError(f"{self.origin}: feature_norm is one of {' '.join(PER_UTTERANCE)}, not "
                            f"{self.feature_norm!r}")
        if not self.takes_sound:
            return
        if self.fbank.dimension != self.dimension:
            raise UserError(f"{self.origin}: fbank.conf makes {self.fbank.dimension} features per frame, "
                            f"the network takes {self.dimension}")
        _ = self.vad  # raises

    @property
    def takes_sound(self) -> bool:
        return is_filterbank(self.features)

    @property
    def fbank(self) -> FbankConfig:
        return config_from(FbankConfig, self._text("fbank.conf"), f"{self.origin}: fbank.conf")

    @property
    def vad(self) -> VadConfig:
        return config_from(VadConfig, self._text("vad.conf"), f"{self.origin}: vad.conf")

    def _text(self, name: str) -> str:
        if name not in self.features:
            raise UserError(f"{self.origin}: does not say with which {name} the features were made; make them with "
                            "steps/make_fbank.sh and steps/compute_vad.sh, and train again")
        return self.features[name]

    @classmethod
    def of_config(cls, config: Mapping[str, Any], path: Path) -> "InputFormat":
        """What a checked config.json says; raises UserError where it does not say how the features were made."""
        return cls(tuple(config["classes"]), config["dimension"], config["features"], config["options"]["feature_norm"],
                   str(path))

    def difference(self, other: "InputFormat") -> str | None:
        """What is the first in which two formats differ, but for their origin, or None."""
        return next((field.name for field in fields(self) if field.name != "origin"
                     and getattr(self, field.name) != getattr(other, field.name)), None)

    @property
    def metadata(self) -> dict[str, str]:
        """What an exported file says of itself, `{name: text}`: the configurations with every option."""
        configurations = dict(self.features)
        if self.takes_sound:
            configurations = {"fbank.conf": conf_text(self.fbank), "vad.conf": conf_text(self.vad)}
        return {"classes": json.dumps(self.classes), **configurations, "feature_norm": self.feature_norm,
                "features": self.in_words}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], dimension: int, path: Path) -> "InputFormat":
        """What the metadata of an exported file say; raises UserError."""
        try:
            classes = json.loads(metadata["classes"])
            norm = metadata["feature_norm"]
            if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
                raise ValueError("classes is no list of words")
        except (KeyError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: its metadata do not say what steps/export.py writes ({error}); export the model "
                            "again") from None
        features = {name: text for name, text in metadata.items() if name.endswith(".conf")}
        return cls(tuple(classes), dimension, features, norm, str(path))

    @property
    def in_words(self) -> str:
        """How the features are made, step by step."""
        steps = [*self._of_features(), f"Normalization: {_NORMALIZATIONS[self.feature_norm]}."]
        return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))

    def _of_features(self) -> list[str]:
        """The steps from sound, or from what a user brings, to the frames that are kept."""
        if "extracted.conf" in self.features:
            config = config_from(ExtractedConfig, self.features["extracted.conf"], f"{self.origin}: extracted.conf")
            return [f"Features: {self.dimension} per frame, one every {config.frame_shift:g} ms, which were brought "
                    "to the recipe; how they are made it does not know.",
                    "Voice activity: the frames that vad.scp beside them calls voiced are kept; all are where there "
                    "was none, or if none would be."]
        return [f"Sound: {SAMPLE_RATE} Hz, the mean of its channels, samples in the range of 16-bit integers.",
                self._of_hidden_states() if "ssl.conf" in self.features else self._of_filterbanks(),
                f"Voice activity: webrtcvad of mode {self.vad.aggressiveness} decides on 10 ms hops from the beginning "
                f"of the sound. A frame is kept if a share of {self.vad.voiced_share:g} or more of the whole hops in "
                "its window is voiced; all are if none would be."]

    def _of_hidden_states(self) -> str:
        config = config_from(SslConfig, self.features["ssl.conf"], f"{self.origin}: ssl.conf")
        layer = "the mean of all layers" if config.layer == "mean" else f"layer {config.layer}"
        return (f"Features: {self.dimension} per frame, hidden states of {config.model} (files with the digest "
                f"{config.weights}), {layer}, of samples divided by 32768 and then normalized as its "
                f"preprocessor_config.json says: windows of {config.frame_length:g} ms every "
                f"{config.frame_shift:g} ms.")

    def _of_filterbanks(self) -> str:
        fbank = self.fbank
        mean = "the mean of each window removed, " if fbank.remove_dc_offset else ""
        energy = ", the log energy in front" if fbank.use_energy else ""
        return (f"Features: {self.dimension} per frame, log mel filterbanks as Kaldi's compute-fbank-feats makes them "
                f"with fbank.conf, --dither=0 and --snip-edges=true: {fbank.window_type} windows of "
                f"{fbank.frame_length:g} ms every {fbank.frame_shift:g} ms, {mean}pre-emphasis "
                f"{fbank.preemphasis_coefficient:g}, power spectrum, {fbank.num_mel_bins} filters from "
                f"{fbank.low_freq:g} to {fbank.upper_edge:g} Hz, natural logarithm{energy}.")
