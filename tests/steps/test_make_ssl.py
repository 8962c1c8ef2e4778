"""steps/make_ssl.sh on small models with random weights, which the tests make; nothing is downloaded."""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import kaldi_native_io as kio
import numpy as np
import pytest
import soundfile
import torch

import compute_ssl
from conftest import SHORT, run
from ser.audio.ssl import HiddenStates, describe_model
from ser.audio.waveform import load_audio
from ser.base.errors import UserError
from ser.data.data_dir import read_table
from stages import moved

pytestmark = pytest.mark.skipif(find_spec("transformers") is None,
                                reason="transformers is not installed (requirements-dev.txt)")

SHORT_ONE = "s1-ang0"
KINDS = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
         "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
         "mask_time_prob": 0.0, "vocab_size": 8}


def make_model(folder, kind="wav2vec2", **changes):
    """Save a model of random weights as save_pretrained() does; its convolutions are those of the published ones."""
    import transformers  # most of a second, for which each worker of the tests would wait

    torch.manual_seed(0)
    config = getattr(transformers, f"{KINDS[kind]}Config")(**{**SIZES, **changes})
    model = getattr(transformers, f"{KINDS[kind]}Model")(config).eval()
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=16000).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny wav2vec2"
    make_model(folder)
    return folder


def features(data):
    with kio.RandomAccessFloatMatrixReader(f"scp:{data}/feats.scp") as reader:
        return {utt: np.array(reader[utt]) for utt in read_table(data / "feats.scp")}


def source_of(tiny, place, keep):
    """The audio of some utterances of `tiny`."""
    source = place / "source"
    source.mkdir(parents=True)
    for name in ("wav.scp", "utt2spk", "utt2emo"):
        lines = (tiny / name).read_text().splitlines()[:keep]
        (source / name).write_text("\n".join(lines) + "\n")
    return source


@dataclass(frozen=True)
class Run:
    """Where run.sh works, with which options; the data directory that it makes, and what it said at first."""

    place: Path
    words: tuple
    data: Path
    said: str

    def __call__(self, *words):
        return run("./run.sh", *self.words, *words)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory, model_dir):
    """Features of three speakers, made by two jobs, and one utterance too short for them; tests go on in the place."""
    place = tmp_path_factory.mktemp("made")
    source = source_of(tiny, place, 36)
    soundfile.write(place / "short.wav", np.ones(399, np.int16), 16000)
    table = read_table(source / "wav.scp")
    table[SHORT_ONE] = place / "short.wav"
    (source / "wav.scp").write_text("".join(f"{utt} {path}\n" for utt, path in table.items()))
    (place / "short.conf").write_text("\n".join(SHORT) + "\n")
    shutil.copytree(model_dir, place / "model")
    common = ("--ser-data", source, "--systems", "conv1d_ad", "--finetune-config", place / "short.conf")
    words = (*common, "--data-dir", place / "ssl", "--exp-dir", place / "exp", "--feats-type", "ssl",
             "--ssl-model", place / "model", "--ssl-layer", "2")
    said = run("./run.sh", *words, "--nj", "2", "--stop-stage", "3").stderr
    run("./run.sh", *common, "--data-dir", place / "fbank", "--exp-dir", place / "other", "--nj", "2",
        "--stop-stage", "3")
    data, = (place / "ssl").glob("source_*")
    return Run(place, words, data, said)


def directly(model, data):
    """Features of a data directory as one process makes them, whatever else it has done."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as jobs have
    states = HiddenStates(model, "2")
    found = {utt: states(load_audio(path)) for utt, path in read_table(data / "wav.scp").items()}
    torch.set_num_threads(threads)
    return found


def same_bits(ours, theirs):
    return ours.keys() == theirs.keys() and all(ours[utt].tobytes() == theirs[utt].tobytes() for utt in ours)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_hidden_states(kind, tmp_path):
    model = make_model(tmp_path, kind)
    samples = 3000 * np.random.default_rng(0).standard_normal(20000).astype(np.float32) + 100
    normalized = (samples - samples.mean()) / samples.std()
    with torch.no_grad():
        states = model(torch.from_numpy(normalized)[None], output_hidden_states=True).hidden_states
    assert len(states) == 4
    expected = {str(number): state for number, state in enumerate(states)} | {"mean": sum(states) / 4}
    for layer, state in expected.items():
        found = HiddenStates(tmp_path, layer)(samples)
        assert found.shape == (62, 24) and np.allclose(found, state[0].numpy(), atol=1e-4)


def test_files_are_those_of_make_fbank(made, tmp_path):
    data = made.data
    of_fbank, = (made.place / "fbank").glob("source_*")

    def names(folder):
        files = [str(path.relative_to(folder)).replace(folder.name, "data") for path in folder.rglob("*")
                 if path.is_file()]
        return {name.replace("ssl", "fbank") for name in files}

    assert names(data) == names(of_fbank) and (data / "data" / f"raw_ssl_{data.name}.2.ark").exists()
    for table in ("utt2dur", "utt2audio_digest", "duplicates"):
        assert (data / table).read_text() == (of_fbank / table).read_text()
    assert (data / "frame_shift").read_text() == "0.020\n"
    lengths = {utt: len(matrix) for utt, matrix in features(data).items()}
    assert {utt: str(length) for utt, length in lengths.items()} == read_table(data / "utt2num_frames")
    with kio.RandomAccessFloatVectorReader(f"scp:{data}/vad.scp") as reader:
        assert {utt: len(reader[utt]) for utt in lengths} == lengths
    # Of features there is one configuration at a time.
    assert {path.name for path in (data / "conf").iterdir()} == {"ssl.conf", "vad.conf"}
    again = moved(data, tmp_path / "data")
    run("steps/make_fbank.sh", "--nj", "1", again)
    assert {path.name for path in (again / "conf").iterdir()} == {"fbank.conf", "vad.conf"}


def test_an_utterance_shorter_than_a_frame_is_named_and_left_out(made):
    assert f"skipping {SHORT_ONE}: 399 samples are shorter than one window" in made.said
    assert len(features(made.data)) == 35 and SHORT_ONE not in read_table(made.data / "feats.scp")
    assert len(load_audio(str(made.place / "short.wav"))) == 399


def test_configuration_tells_the_model_by_content(tmp_path, model_dir):
    described = describe_model(model_dir, "2")
    assert (described.model, described.layer, described.frame_length, described.frame_shift) == (
        "tiny_wav2vec2", "2", 25.0, 20.0)
    elsewhere = shutil.copytree(model_dir, tmp_path / "elsewhere" / "tiny wav2vec2")
    assert describe_model(elsewhere, "2") == described
    make_model(elsewhere, intermediate_size=40)
    assert describe_model(elsewhere, "2").weights != described.weights


@pytest.mark.parametrize("kernels, strides", [((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)), ((8, 5), (4, 3)),
                                              ((7,), (7,))])
def test_frames_are_those_of_its_convolutions(kernels, strides, tmp_path):
    model = make_model(tmp_path, conv_kernel=kernels, conv_stride=strides, conv_dim=(16,) * len(kernels),
                       num_feat_extract_layers=len(kernels))
    grid = describe_model(tmp_path, "mean")
    for samples in (*range(grid.window_samples, grid.window_samples + 3 * grid.shift_samples), 16000, 16001, 77777):
        assert grid.num_frames(samples) == model._get_feat_extract_output_lengths(samples)
    assert grid.num_frames(grid.window_samples - 1) == 0


def without(name):
    return lambda folder: (folder / name).unlink()


def changed(name, **values):
    def change(folder):
        content = {**json.loads((folder / name).read_text()), **values}
        (folder / name).write_text(json.dumps(content))
    return change


def without_a_weight(folder):
    from safetensors.torch import load_file, save_file
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layers.1.attention.k_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


FAULTS = {
    "no config": (without("config.json"), "config.json: no such file; copy the whole folder of the model"),
    "no preprocessor_config": (without("preprocessor_config.json"), "preprocessor_config.json: no such file"),
    "no weights": (without("model.safetensors"), "holds no weights, neither *.safetensors nor *.bin"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json: is damaged"),
    "another rate": (changed("preprocessor_config.json", sampling_rate=8000), "has sampling_rate 8000; a model of "),
    "another kind": (changed("config.json", conv_kernel=None, model_type="bert"), "but of model_type bert"),
    "weights cut short": (cut, "transformers cannot read it: "),
    "a weight less": (without_a_weight, "its weights lack encoder.layers.1.attention.k_proj.weight (1 missing)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_model(fault, tmp_path, model_dir):
    change, said = FAULTS[fault]
    folder = shutil.copytree(model_dir, tmp_path / "model")
    change(folder)
    with pytest.raises(UserError) as error:
        describe_model(folder, "mean")
        HiddenStates(folder, "mean")
    assert said in str(error.value) and str(error.value).startswith(str(folder)) and "\n" not in str(error.value)


def test_a_fault_leaves_what_was_there(made, tmp_path, model_dir, outcome, monkeypatch):
    data = moved(made.data, tmp_path / "data")
    before = {name: (data / name).read_bytes() for name in ("feats.scp", "conf/ssl.conf", "utt2num_frames")}
    model = shutil.copytree(model_dir, tmp_path / "model")
    without_a_weight(model)
    monkeypatch.setattr(sys, "argv", ["compute_ssl.py", f"--config={data}/conf/ssl.conf", f"--ssl-model={model}",
                                      "--job=1", "--num-jobs=1", str(data), str(tmp_path / "pieces" / "1")])
    with pytest.raises(UserError, match=re.escape(FAULTS["a weight less"][1])) as error:
        compute_ssl.main()
    assert not (tmp_path / "pieces").exists()
    result = run("steps/make_ssl.sh", "--nj", "1", "--cmd", "false", "--ssl-model", model, data, check=False)
    assert result.returncode and "Traceback" not in result.stderr  # after its job has failed
    assert before == {name: (data / name).read_bytes() for name in before}
    assert "--layer=mean\n" in (data / "conf" / "ssl.conf.new").read_text()  # what the job would have read
    outcome("model: a weight less", "make_ssl.sh", result.returncode, str(error.value).replace(str(tmp_path), "…"))


@pytest.mark.parametrize("words, said", {
    (): "needs --ssl-model DIR",
    ("--ssl-model", "nowhere"): "nowhere: no such directory; it is one of config.json and weights",
    ("--ssl-model", "MODEL", "--ssl-layer", "4"): "has no layer 4; its layers are 0 to 3",
    ("--ssl-model", "MODEL", "--ssl-layer", "last"): "--ssl-layer must be a number from 0 or mean, not 'last'",
}.items(), ids=str)
def test_wrong_calls(words, said, tiny, tmp_path, model_dir):
    run("local/kaldi_data_prep.py", source_of(tiny, tmp_path, keep=2), tmp_path / "data")
    words = [str(model_dir) if word == "MODEL" else word for word in words]
    result = run("steps/make_ssl.sh", *words, tmp_path / "data", check=False)
    assert result.returncode == 1 and said in result.stderr and "Traceback" not in result.stderr


def test_run_sh_takes_them_and_tells_a_changed_model(made):
    model, exp = made.place / "model", made.place / "exp"
    assert same_bits(features(made.data), directly(model, made.data))  # of two jobs
    result = made("--nj", "1", "--stop-stage", "5")
    assert re.search(r"ssl and VAD of \S+: already done", result.stdout) and "3 trainings to do" in result.stdout
    fold = exp / "conv1d_ad" / "fold_s1"
    digest = describe_model(model, "2").weights
    assert " 24dim feature-norm utterance crop 20 " in (fold / "RESULT").read_text()
    assert f" model model weights {digest} layer 2" in (fold / "RESULT").read_text()
    assert "A model\nthat made them has a licence of its own." in (fold / "README.md").read_text()
    said = run("steps/export.py", fold, made.place / "model.onnx").stdout
    assert f"24 per frame, hidden states of model (files with the digest {digest}), layer 2, " in said
    assert "windows of 25 ms every 20 ms" in said and "webrtcvad of mode 2" in said and "predict.py" not in said
    assert "0 trainings to do" in made("--nj", "1", "--stop-stage", "5").stdout
    make_model(model, intermediate_size=40)
    assert "its options have changed" in made("--nj", "1", "--stop-stage", "3").stdout
    assert same_bits(features(made.data), directly(model, made.data))  # of one job, of another model
    planned = run("local/experiment/plan_finetuning.py", "--systems", "conv1d_ad", "--finetune-config",
                  made.place / "short.conf", made.data, exp, exp / "tasks")
    assert planned.stdout == "3\n" and "changed since made: features (" in planned.stderr
