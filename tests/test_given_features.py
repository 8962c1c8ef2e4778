"""--feats-type extracted: features that a user brings, from the tables of Kaldi or ESPnet to a table of results."""

import json
import os
import re
import subprocess
from pathlib import Path

import kaldi_native_io as kio
import numpy as np
import onnxruntime
import pytest
import torch

from conftest import SHORT, read_matrices, read_vectors, run
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.infer.onnx_network import OnnxNetwork
from ser.infer.probability_network import load_networks

DIMENSION = 13
SUFFIXES = ("", "b", "c", "d")  # of takes
SYSTEM = "conv1d_pretrain_ad"


def write_table(path, table):
    path.write_text("".join(f"{key} {value}\n" for key, value in sorted(table.items())))


def write_features(place, tiny, dimension=DIMENSION, vad=True, compressed=False, takes=1):
    """What a user of Kaldi has: PLACE/data/mine with feats.scp, whose archives are named from PLACE, and no audio.

    With more takes there is more of each utterance, with other values.
    """
    data = place / "data" / "mine"
    data.mkdir(parents=True)
    (place / "mfcc").mkdir()
    for name in ("utt2spk", "utt2emo"):
        write_table(data / name, {f"{utt}{SUFFIXES[take]}": word for utt, word in read_table(tiny / name).items()
                                  for take in range(takes)})
    writers = {"feats.scp": kio.CompressedMatrixWriter if compressed else kio.FloatMatrixWriter,
               "vad.scp": kio.FloatVectorWriter}
    tables = {"feats.scp": {f"{utt}{SUFFIXES[take]}": matrix[:, :dimension] + take
                            for utt, matrix in read_matrices(read_table(tiny / "feats.scp")) for take in range(takes)}}
    if vad:
        tables["vad.scp"] = {f"{utt}{SUFFIXES[take]}": vector
                             for utt, vector in read_vectors(read_table(tiny / "vad.scp")) for take in range(takes)}
    more = {"method": kio.CompressionMethod.kSpeechFeature} if compressed else {}
    for name, arrays in tables.items():
        with writers[name](f"ark,scp:{place}/mfcc/{name}.ark,{place}/mfcc/{name}") as writer:
            for utt, array in arrays.items():
                writer.write(utt, np.ascontiguousarray(array), **(more if name == "feats.scp" else {}))
        write_table(data / name, {utt: where.removeprefix(f"{place}/")
                                  for utt, where in read_table(place / "mfcc" / name).items()})
    (data / "frame_shift").write_text("0.02\n")
    return data


def taken(source, data, nj=1):
    run("local/kaldi_data_prep.py", "--feats", "true", "--emotion", "true", source, data)
    return run("steps/check_feats.sh", "--nj", nj, data)


@pytest.mark.parametrize("compressed", [False, True])
def test_matrices_are_those_that_were_brought(compressed, tiny, tmp_path):
    source = write_features(tmp_path, tiny, compressed=compressed)
    taken(source, tmp_path / "taken", nj=2)
    read = read_table(tmp_path / "taken" / "feats.scp")
    for utt, matrix in read_matrices(read_table(tiny / "feats.scp")):
        with kio.RandomAccessFloatMatrixReader(f"scp:{tmp_path}/taken/feats.scp") as reader:  # as Kaldi reads them
            expected = np.array(reader[utt])
        assert np.allclose(expected, matrix[:, :DIMENSION], atol=0.2 if compressed else 0)
    assert read.keys() == read_table(tiny / "feats.scp").keys()
    for utt, matrix in read_matrices(read):
        with kio.RandomAccessFloatMatrixReader(f"scp:{tmp_path}/taken/feats.scp") as reader:
            assert np.allclose(matrix, reader[utt], atol=1e-4)


def test_tables_that_go_with_them(tiny, tmp_path):
    data = tmp_path / "taken"
    result = taken(write_features(tmp_path, tiny, vad=False), data)
    assert "has no vad.scp, so all frames count as voiced" in result.stdout
    frames = {utt: int(count) for utt, count in read_table(tiny / "utt2num_frames").items()}
    assert {utt: int(count) for utt, count in read_table(data / "utt2num_frames").items()} == frames
    for utt, seconds in read_table(data / "utt2dur").items():
        assert float(seconds) == pytest.approx(0.02 * frames[utt])
    assert (data / "frame_shift").read_text() == "0.02\n"
    assert (data / "conf" / "extracted.conf").read_text() == "--frame-shift=20\n"
    assert not (data / "wav.scp").exists()
    bank = load_bank(data, sorted(frames), "none")
    assert bank.dimension == DIMENSION and dict(zip(bank.utts, bank.lengths.tolist(), strict=True)) == frames


def test_voice_activity_that_is_brought_counts(tiny, tmp_path):
    source = write_features(tmp_path, tiny, vad=False)
    frames = {utt: int(count) for utt, count in read_table(tiny / "utt2num_frames").items()}
    with kio.FloatVectorWriter(f"ark,scp:{source}/vad.ark,{source}/vad.scp") as writer:
        for utt, count in frames.items():
            writer.write(utt, np.float32(np.arange(count) % 3 > 0))
    assert "no vad.scp" not in taken(source, tmp_path / "taken").stdout
    bank = load_bank(tmp_path / "taken", sorted(frames), "none")
    assert bank.lengths.tolist() == [count - -(-count // 3) for _, count in sorted(frames.items())]
    first = sorted(frames)[0]
    (matrix,) = (each for utt, each in read_matrices(read_table(tiny / "feats.scp")) if utt == first)
    assert np.array_equal(bank.frames_of(bank.indices([first])),
                          matrix[np.arange(len(matrix)) % 3 > 0, :DIMENSION])


def test_copies_are_found_by_their_features(tiny, tmp_path):
    source = write_features(tmp_path, tiny)
    for name in ("feats.scp", "vad.scp"):
        table = read_table(source / name)
        write_table(source / name, table | {"s2-ang1": table["s1-ang0"]})
    result = taken(source, tmp_path / "taken")
    assert (tmp_path / "taken" / "duplicates").read_text() == "s1-ang0 s2-ang1\n"
    assert ("1 utterance is a copy of another, frame by frame; recordings with more than one speaker: 1"
            in result.stderr)


def test_the_recipes_own_features_give_the_same_scores(tiny, trained, tmp_path):
    taken(write_features(tmp_path, tiny, dimension=41), tmp_path / "taken")
    run("local/make_folds.py", "--protocol", "loso", tmp_path / "taken")
    own, brought = trained / "vgg5_ad" / "fold_s1", tmp_path / "brought"
    run("steps/finetune.py", *SHORT, "--epochs", "2", "--extractor-lr-factor", "1", "--ad-lr-factor", "1",
        "--backbone", "vgg5", "--ad-after", "last", "--num-threads", "1", "--data", tmp_path / "taken",
        "--fold", "fold_s1", "--dir", brought)
    assert (own / "score/per_utt").read_bytes() == (brought / "score/per_utt").read_bytes()
    assert " 41mel " in (own / "RESULT").read_text() and " 41dim " in (brought / "RESULT").read_text()


def drop(name):
    def change(source, utt):
        table = read_table(source / name)
        del table[utt]
        write_table(source / name, table)
    return change


def put(name, value):
    return lambda source, utt: write_table(source / name, read_table(source / name) | {utt: value})


def put_matrix(matrix):
    def change(source, utt):
        with kio.FloatMatrixWriter(f"ark,scp:{source}/{utt}.ark,{source}/{utt}.scp") as writer:
            writer.write(utt, np.float32(matrix))
        put("feats.scp", read_table(source / f"{utt}.scp")[utt])(source, utt)
    return change


def cut(source, _):
    path = source.parent.parent / "mfcc" / "feats.scp.ark"
    path.write_bytes(path.read_bytes()[:-100])


# Of 192 utterances nine are named and left out; cut() is of the last one.
ONE = {
    "no entry in feats.scp": ("s1-ang1", drop("feats.scp"), "s1-ang1: not in feats.scp"),
    "no entry in vad.scp": ("s1-sad2", drop("vad.scp"), "s1-sad2: not in vad.scp"),
    "a command": ("s2-ang0", put("feats.scp", "copy-feats scp:x ark:- |"),
                  "s2-ang0: feats.scp says 'copy-feats scp:x ark:- |'"),
    "a range": ("s2-sad5", put("feats.scp", "mfcc/feats.scp.ark:20[0:9]"),
                "s2-sad5: feats.scp says 'mfcc/feats.scp.ark:20[0:9]' and not archive:offset; copy the features"),
    "no such archive": ("s3-ang3", put("feats.scp", "nowhere.ark:20"), "s3-ang3: feats.scp: nowhere.ark is missing"),
    "another dimension": ("s3-sad1", put_matrix(np.ones((30, 7))),
                          "skipping s3-sad1: has dimension 7, the others 13"),
    "vad of another": ("s3-sad4", put("vad.scp", "mfcc/vad.scp.ark:8"), "skipping s3-sad4: vad.scp has "),
    "not finite": ("s4-ang4", put_matrix(np.full((30, DIMENSION), np.nan)),
                   "holds a value that is not finite (utterance s4-ang4)"),
    "archive cut short": ("s4-sad5d", cut, "(utterance s4-sad5d: "),
}


def test_utterances_that_cannot_be_used_are_named_and_left_out(tiny, tmp_path, outcome):
    source = write_features(tmp_path, tiny, takes=4)
    for utt, change, _ in ONE.values():
        change(source, utt)
    data = tmp_path / "taken"
    prepared = run("local/kaldi_data_prep.py", "--feats", "true", "--emotion", "true", source, data)
    checked = run("steps/check_feats.sh", "--nj", "2", data)
    run("steps/fix_data_dir.py", data)
    lines = (prepared.stdout + prepared.stderr + checked.stderr).splitlines()
    for fault, (_, _, said) in ONE.items():
        line = next(line for line in lines if said in line)
        outcome(f"features: {fault}", "1 and 2", 0, line.replace(str(tmp_path), "…"))
    left = read_table(source / "utt2spk").keys() - {utt for utt, _, _ in ONE.values()}
    assert len(left) == 192 - 9 and read_table(data / "feats.scp").keys() == read_table(data / "vad.scp").keys() == left
    run("steps/validate_data_dir.py", "--no-wav", data)


ALL = {
    "no feats.scp": (lambda source: (source / "feats.scp").unlink(), "mine/feats.scp: no such file"),
    "frame_shift in ms": (lambda source: (source / "frame_shift").write_text("10\n"),
                          "mine/frame_shift: expected seconds from one frame to the next, such as 0.02, found '10'"),
    "archives are gone": (lambda source: (source.parent.parent / "mfcc" / "feats.scp.ark").unlink(),
                          "only 0 of 48 utterances can be used"),
}


@pytest.mark.parametrize("fault", ALL)
def test_a_directory_that_cannot_be_used(fault, tiny, tmp_path, outcome):
    source = write_features(tmp_path, tiny)
    change, said = ALL[fault]
    change(source)
    result = run("local/kaldi_data_prep.py", "--feats", "true", "--emotion", "true", source, tmp_path / "taken",
                 check=False)
    assert result.returncode == 1 and said in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "taken" / "utt2spk").exists()
    outcome(f"features: {fault}", "1", 1, result.stderr.splitlines()[-1].replace(str(tmp_path), "…"))


def test_without_frame_shift_it_is_kaldis(tiny, tmp_path):
    source = write_features(tmp_path, tiny)
    (source / "frame_shift").unlink()
    result = run("local/kaldi_data_prep.py", "--feats", "true", source, tmp_path / "taken")
    assert "no such file, so a frame is taken for 0.01 s, as Kaldi does" in result.stdout + result.stderr
    assert (tmp_path / "taken" / "frame_shift").read_text() == "0.01\n"


@pytest.mark.parametrize("words, said", {
    ("--feats-type", "mfcc"): "--feats-type mfcc: expected fbank, ssl or extracted",
    ("--feats-type", "extracted"): "--feats-type extracted takes feats.scp of --ser-data DIR and --pretrain-data DIR",
    ("--feats-type", "extracted", "--ser-data", "DATA", "--librispeech", "DATA"): "and of no other corpus",
    ("--feats-type", "extracted", "--ser-data", "DATA", "--fbank-config", "conf/fbank.conf"):
        "--fbank-config is not for --feats-type extracted",
    ("--feats-type", "extracted", "--ser-data", "DATA", "--systems", "svm_functionals"):
        "svm_functionals learns from the frames of filterbanks; name others with --systems",
    ("--ssl-layer", "3"): "--ssl-layer is not for --feats-type fbank",
    ("--feats-type", "ssl"): "--feats-type ssl needs --ssl-model DIR",
    ("--feats-type", "ssl", "--ssl-model", "nowhere"): "--ssl-model nowhere: no such directory; nothing is downloaded",
    ("--feats-type", "ssl", "--ssl-model", ".", "--ssl-layer", "last"): "--ssl-layer last: expected a number from 0",
}.items(), ids=str)
def test_options_that_do_not_fit(words, said, tiny, tmp_path):
    words = [str(tiny) if word == "DATA" else word for word in words]
    result = run("./run.sh", *words, "--exp-dir", tmp_path / "exp", "--data-dir", tmp_path / "data", check=False)
    assert result.returncode == 1 and said in result.stderr and len(result.stderr.splitlines()) == 1


def recipe(place, *words):
    return run("./run.sh", "--feats-type", "extracted", "--ser-data", place / "data/mine", "--pretrain-data",
               place / "data/mine", "--systems", SYSTEM, "--data-dir", place / "made", "--exp-dir", place / "exp",
               "--pretrain-config", place / "short.conf", "--finetune-config", place / "short.conf", "--nj", "1",
               "--stop-stage", "6", *words)


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """Up to the results on 13 dimensions at 20 ms of three speakers; the last test changes it."""
    place = tmp_path_factory.mktemp("done")
    source = write_features(place, tiny)
    for name in ("utt2spk", "utt2emo", "feats.scp", "vad.scp"):
        write_table(source / name, {utt: value for utt, value in read_table(source / name).items()
                                    if not utt.startswith("s4")})
    (place / "short.conf").write_text("\n".join((*SHORT, "--augment=warp,noise")) + "\n")
    result = recipe(place)
    (place / "said").write_text(result.stdout + result.stderr)
    return place


def model_of(place):
    return place / "exp" / SYSTEM / "fold_s1"


def data_of(model):
    return Path(json.loads((model / "config.json").read_text())["options"]["data_dir"])


def test_results(done):
    said = (done / "said").read_text()
    assert said.count("augment: warp is left out") == 2  # of the trainings on each of the two data directories
    for result in (model_of(done) / "RESULT", done / "exp" / "pretrain_conv1d" / "RESULT"):
        text = result.read_text()
        assert " 13dim " in text and " augment noise " in text and " frame-shift 20.0" in text
    for name in ("RESULTS", "CLAIMS"):
        assert (done / "exp" / name).stat().st_size
    assert "takes no sound, but features that are no filterbanks" in (model_of(done) / "README.md").read_text()


def test_analysis(done):
    """The parts of stage 7 that read features, and the page."""
    model = model_of(done)
    run("steps/analyse.py", "--device", "cpu", "--dir", model)
    run("steps/plot_masks.py", "--device", "cpu", "--dir", model)
    run("local/results/make_report.py", "--systems", SYSTEM, data_of(model), done / "exp")
    for path in (model / "analysis" / "probes.tsv", model / "analysis" / "embeddings.npz",
                 model / "analysis" / "masks.png", done / "exp" / "report.html"):
        assert path.stat().st_size


def test_export_says_what_the_network_does_and_prediction_from_sound_is_refused(done, tmp_path):
    said = run("steps/export.py", model_of(done), tmp_path / "model.onnx").stdout
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", "frames", DIMENSION]
    networks, input_format = load_networks(model_of(done))
    rng = np.random.default_rng(0)
    for lengths in ([5, 40], [1], [33, 7, 20]):
        features = rng.normal(size=(len(lengths), max(lengths), DIMENSION)).astype(np.float32)
        (found,) = session.run(None, {"features": features, "lengths": np.array(lengths)})
        for row, (utterance, length) in enumerate(zip(features, lengths, strict=True)):
            with torch.inference_mode():
                expected = networks(torch.from_numpy(utterance[None, :length]), None)[0]
            assert np.allclose(found[row], expected, atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["extracted.conf"] == "--frame-shift=20\n"
    assert input_format.in_words in said and "13 per frame, one every 20 ms, which were brought to" in said
    assert "predict.py" not in said and "onnx_example" not in said
    assert OnnxNetwork(tmp_path / "model.onnx").format.metadata == input_format.metadata
    for model in (model_of(done), tmp_path / "model.onnx"):
        result = run("steps/predict.py", model, "x.wav", check=False)
        assert result.returncode == 1 and not result.stdout
        assert "was trained on features that are no filterbanks, and takes no sound" in result.stderr


def test_across_corpora_they_must_be_alike(done, tiny, tmp_path):
    model = model_of(done)
    data = data_of(model)
    write_table(tmp_path / "references", read_table(data / "utt2emo"))
    write_table(tmp_path / "labels", {"ang": "ang", "sad": "sad"})

    def score(of, check=True):
        return run("steps/score_cross.py", "--device", "cpu", "--num-threads", "1", "--model", model, "--data", of,
                   "--references", tmp_path / "references", "--label-map", tmp_path / "labels", "--dir",
                   tmp_path / "out", check=check)

    score(data)
    said = read_table(tmp_path / "out" / model.parent.name / model.name / "score" / "per_utt")
    for utt, of_own_fold in read_table(model / "score" / "per_utt").items():
        assert said[utt].split()[:2] == of_own_fold.split()[:2]
        np.testing.assert_allclose(*(np.array(line.split()[2:], float) for line in (said[utt], of_own_fold)), atol=2e-6)
    result = score(tiny, check=False)
    assert result.returncode == 1 and f"{tiny}/conf/extracted.conf: not there" in result.stderr
    other = tmp_path / "taken"
    taken(write_features(tmp_path, tiny, dimension=7), other)
    result = score(other, check=False)
    assert result.returncode == 1 and f"feats.scp: has dimension 7, {model} takes 13" in result.stderr


def test_a_pretraining_on_other_features_is_refused(done, tiny, tmp_path):
    result = run("steps/finetune.py", *SHORT, "--backbone", "conv1d", "--pretrained-dir", done / "exp/pretrain_conv1d",
                 "--data", tiny, "--fold", "fold_s1", "--dir", tmp_path / "model", check=False)
    assert result.returncode == 1 and "pre-trained on features of another conf/" in result.stderr


def test_another_experiment_directory_is_asked_for(done):
    result = subprocess.run(["./run.sh", "--ser-data", done / "data/mine", "--systems", "vgg5_baseline", "--data-dir",
                             done / "made", "--exp-dir", done / "exp"], capture_output=True, text=True,
                            env=os.environ, check=False)
    assert result.returncode == 1
    assert "holds results of mine_feats-type-extracted auto, these would be of mine auto" in result.stderr


def test_done_is_done_and_other_features_are_trained_again(done):
    model = model_of(done)
    kept = (model / "RESULT").stat().st_mtime_ns
    again = recipe(done, "--stop-stage", "5")
    assert "0 trainings to do" in again.stdout and (model / "RESULT").stat().st_mtime_ns == kept
    # Another archive of the same name
    path = done / "mfcc" / "feats.scp.ark"
    content = path.read_bytes()
    end = content.index(b"s4-ang0 ")  # of what is used
    values = np.frombuffer(content[end - 400 : end], np.float32) + 1
    path.write_bytes(content[: end - 400] + values.tobytes() + content[end:])
    result = recipe(done, "--stop-stage", "3")
    assert "the source has changed" in result.stdout + result.stderr
    # What stages 4 and 5 start
    task = (done / "exp" / "tasks" / "pretrain.1.sh").read_text().split()
    assert "changed since it was made: features (36 utterances, now 36)" in run(*task[1:]).stderr
    planned = run("local/experiment/plan_finetuning.py", "--systems", SYSTEM, "--finetune-config", done / "short.conf",
                  data_of(model), done / "exp", done / "exp" / "tasks")
    assert planned.stdout == "3\n"
    assert re.search(r"changed since made: .*features \(36 utterances, now 36\)", planned.stderr)
    run("steps/finetune.py", "--config", done / "exp" / "tasks" / "finetune.1.conf")
    assert (model / "RESULT").stat().st_mtime_ns > kept
