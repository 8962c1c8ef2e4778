"""The emotion of a 16 kHz WAV of one channel by a file of steps/export.py, without the recipe.

pip install onnxruntime kaldi-native-fbank webrtcvad-wheels soundfile; python onnx_example.py model.onnx x.wav
"""

import json
import sys

import kaldi_native_fbank
import numpy as np
import onnxruntime
import soundfile
import webrtcvad

# The model, and how its features are made.
session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
fbank = dict(line[2:].split("=") for line in about["fbank.conf"].splitlines())
vad = dict(line[2:].split("=") for line in about["vad.conf"].splitlines())

# 1. Sound.
samples, rate = soundfile.read(sys.argv[2], dtype="int16")
assert rate == 16000 and samples.ndim == 1

# 2. Filterbanks.
options = kaldi_native_fbank.FbankOptions()
options.frame_opts.dither = 0
options.frame_opts.frame_length_ms = float(fbank["frame-length"])
options.frame_opts.frame_shift_ms = float(fbank["frame-shift"])
options.frame_opts.window_type = fbank["window-type"]
options.frame_opts.preemph_coeff = float(fbank["preemphasis-coefficient"])
options.frame_opts.remove_dc_offset = fbank["remove-dc-offset"] == "true"
options.mel_opts.num_bins = int(fbank["num-mel-bins"])
options.mel_opts.low_freq = float(fbank["low-freq"])
options.mel_opts.high_freq = float(fbank["high-freq"])
options.use_energy = fbank["use-energy"] == "true"
extractor = kaldi_native_fbank.OnlineFbank(options)
extractor.accept_waveform(rate, samples.tolist())
features = np.stack([extractor.get_frame(frame) for frame in range(extractor.num_frames_ready)])

# 3. Voiced frames.
detector = webrtcvad.Vad(int(vad["aggressiveness"]))
hops = [detector.is_speech(samples[i : i + 160].tobytes(), rate) for i in range(0, len(samples) - 159, 160)]
shift, length = (int(float(fbank[name]) * 16) for name in ("frame-shift", "frame-length"))
first = np.arange(len(features)) * shift // 160
end = np.maximum((np.arange(len(features)) * shift + length) // 160, first + 1)
voiced = np.array([np.mean(hops[i:j]) >= float(vad["voiced-share"]) for i, j in zip(first, end, strict=True)])
features = features[voiced] if voiced.any() else features

# 4. Normalization.
if about["feature_norm"] in ("utterance", "utterance-mean"):
    features = features - features.mean(axis=0)
if about["feature_norm"] == "utterance":
    features = features / np.maximum(features.std(axis=0), 1e-3)

(probabilities,) = session.run(None, {"features": features[None], "lengths": np.array([len(features)])})
print(json.dumps(dict(zip(json.loads(about["classes"]), probabilities[0].tolist(), strict=True))))
