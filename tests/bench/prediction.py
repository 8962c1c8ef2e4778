"""Processor time of steps/predict.py's work on one thread, against the duration of the sound.

Networks start at random, which takes as long; the sound is synthetic, in utterances of about five seconds.
"""

import tempfile
import time
from pathlib import Path

import soundfile
import torch

from features import synthetic_speech
from ser.base.device import place
from ser.infer.input_format import InputFormat
from ser.infer.prediction import EmotionRecognizer
from ser.infer.probability_network import ProbabilityNetwork
from ser.nn.models import EmotionModel, EmotionModelConfig
from table import ROOT, cpu, row

CONFIGURATION = {name: (ROOT / "conf" / name).read_text() for name in ("fbank.conf", "vad.conf")}
FORMAT = InputFormat(("ang", "hap", "neu", "sad"), 41, CONFIGURATION, "utterance", "conf")


def rows():
    """Yield rows (table.row) of one network and of ten."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = list(synthetic_speech(Path(folder)).values())[:24]
        duration = sum(soundfile.info(path).duration for path in paths)
        for backbone in ("vgg5", "resnet18"):
            for count in (1, 10):
                networks = [EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), 41, 4, 8).eval()
                            for _ in range(count)]
                for network in networks:
                    place(network, "cpu")  # as load_model() does
                recognizer = EmotionRecognizer(ProbabilityNetwork(networks), FORMAT)
                recognizer.predict(paths[0])
                start = time.process_time()
                for path in paths:
                    recognizer.predict(path)
                yield row(f"predict, {count} x {backbone}+AD; the sound", time.process_time() - start, duration, "s",
                          cpu(), 2, smaller_is_better=True)
