"""Processor time of steps/predict.py's work on one thread, against the duration of the sound.

Networks start at random, which takes as long; the sound is synthetic, in utterances of about five seconds. Counted of
the limits is what the networks need.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import soundfile
import torch

from features import synthetic_speech
from limits import least_seconds, needs
from ser.base.device import place
from ser.infer.input_format import InputFormat
from ser.infer.prediction import EmotionRecognizer
from ser.infer.probability_network import ProbabilityNetwork
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from table import ROOT, in_turns, row

CONFIGURATION = {name: (ROOT / "conf" / name).read_text() for name in ("fbank.conf", "vad.conf")}
FORMAT = InputFormat(("ang", "hap", "neu", "sad"), 41, CONFIGURATION, "utterance", "conf")


def seconds(recognizer, paths):
    """Processor time."""
    start = time.process_time()
    for path in paths:
        recognizer.predict(path)
    return time.process_time() - start


def rows():
    """Yield rows (table.row) of one network and of ten."""
    with tempfile.TemporaryDirectory() as folder:
        paths = list(synthetic_speech(Path(folder)).values())[:24]
        duration = sum(soundfile.info(path).duration for path in paths)
        for backbone in ("vgg5", "resnet18"):
            for count in (1, 10):
                networks = [EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), 41, 4, 8).eval()
                            for _ in range(count)]
                for network in networks:
                    place(network, "cpu")  # as load_model() does
                work = partial(seconds, EmotionRecognizer(ProbabilityNetwork(networks), FORMAT), paths)
                least = least_seconds(**needs(work))
                torch.set_num_threads(1)
                yield row(f"predict, {count} x {backbone}+AD; the sound", in_turns(work, lambda: duration), "s", least,
                          digits=2, smaller_is_better=True)
