"""The tables of systems, and what the systems of the paper's references do beside the paper's own."""

from dataclasses import asdict, replace

import pytest
import torch

import finetune
from conftest import run
from local.experiment import systems
from local.experiment.experiment import parse_pretrain_seeds
from ser.analysis.left_out import parts
from ser.base.errors import UserError
from ser.data.feature_bank import FeatureBank
from ser.data.fold_data import FoldData
from ser.infer.choices import choices_of
from ser.infer.evaluation import score
from ser.model_dir.checkpoint import load_config, load_tensors
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.losses import overall_loss, speaker_loss
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.train.copypaste import SHARE, CopyPaste
from ser.train.finetuning import finetune as train
from ser.train.pretrain_config import PretrainConfig
from ser.train.pretraining import pretrain

TABLE = {name: system for name, system in systems.read_systems().items() if system.has_network}
CPU = torch.device("cpu")


def task_of(system, data="data", directory="dir", exp="exp", words=()):
    return finetune.parse([*TABLE[system].options_for(exp), f"--data={data}", f"--dir={directory}", "--fold=fold_s1",
                           "--batch-size=16", "--crop=40", "--epochs=3", "--lr-milestones=9", *words])[1]


def learn(*args, **kwargs):
    return train(task_of(*args, **kwargs), device=CPU, precision="fp32", restart=False, save_every=0)


def model_of(**options):
    torch.manual_seed(0)
    return EmotionModel(EmotionModelConfig(**options), 41, 4, 8)


@pytest.fixture(scope="module")
def exp(tiny, tmp_path_factory):
    """An experiment directory with a pre-trained ResNet18."""
    exp = tmp_path_factory.mktemp("exp")
    config = PretrainConfig(epochs=1, batch_size=16, crop=40)
    pretrain(exp / "pretrain_resnet18", tiny, config, seed=0, device=CPU, precision="fp32", restart=False)
    return exp


@pytest.mark.parametrize("name", TABLE)
def test_every_system_is_a_network(name):
    system, task = TABLE[name], task_of(name)
    assert system.backbone.lower() == task.model.backbone and name.startswith(task.model.backbone)
    assert system.pretrained == (f"pretrain_{task.model.backbone}" if task.pretrained_dir else None)
    logits, dual, adversary = EmotionModel(task.model, 41, 4, 8).eval()(torch.zeros(2, 33, 41))
    modules = 0 if task.model.ad_after == "none" else len(task.model.ad_after.split(","))
    assert logits.shape == (2, 4) and len(dual) == modules
    assert (adversary is not None) == (name == "resnet18_adversary")


# What a row is about, by the families of rows between which nothing else differs.
FAMILIES = {
    "the paper's": ("resnet18_baseline", "resnet18_pretrain", "resnet18_pretrain_ad", "vgg5_baseline", "vgg5_ad"),
    "strong": ("resnet18_strong_baseline", "resnet18_strong", "resnet18_strong_ad"),
    "strong VGG5": ("vgg5_strong", "vgg5_strong_ad"),
}


def configured(name, finetune_config="conf/finetune.conf"):
    """A Task as local/experiment/plan_finetuning.py makes it."""
    return finetune.parse([f"--config={finetune_config}", *TABLE[name].options_for("exp"), "--data=data",
                           "--fold=fold_s1", "--dir=dir"])[1]


@pytest.mark.parametrize("finetune_config", ["conf/finetune.conf", "conf/mini/finetune.conf"])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_a_family_nothing_differs_but_what_the_row_is_about(family, finetune_config):
    tasks = [configured(name, finetune_config) for name in FAMILIES[family]]
    rows = [(task.model.backbone, bool(task.pretrained_dir), task.model.ad_after) for task in tasks]
    resnet18 = [("resnet18", False, "none"), ("resnet18", True, "none"), ("resnet18", True, "last")]
    vgg5 = [("vgg5", False, "none"), ("vgg5", False, "last")]
    assert rows == {"strong": resnet18, "strong VGG5": vgg5}.get(family, resnet18 + vgg5)
    rest = [(replace(task.model, backbone="", ad_after=""), task.config) for task in tasks]
    assert all(each == rest[0] for each in rest)


def test_the_papers_family_has_the_rates_and_the_batch_of_section_4_2():
    config = configured("resnet18_baseline").config
    assert config == FinetuneConfig(crop=200, feature_norm="utterance")
    assert (config.lr, config.extractor_lr_factor, config.ad_lr_factor, config.batch_size) == (0.01, 0.01, 0.01, 128)


def test_a_configuration_of_a_system_comes_after_that_of_the_experiment(tmp_path, monkeypatch):
    (tmp_path / "mine.conf").write_text("--batch-size=7\n--epochs=6\n--lr-milestones=2\n")
    monkeypatch.chdir(tmp_path)  # it is found from anywhere
    strong, usual = (configured(name, tmp_path / "mine.conf").config for name in ("vgg5_strong", "vgg5_baseline"))
    assert (usual.batch_size, usual.epochs, usual.augment) == (7, 6, "none")
    assert (strong.batch_size, strong.lr_milestones, strong.select) == (32, "2", "last")


def described(name):
    task = task_of(name)
    start = {"dataset": "vox", "num_speakers": 9, "options_digest": "3f9c2a"} if task.pretrained_dir else {}
    options = {**asdict(task.model), **asdict(task.config), "pretrained_dir": task.pretrained_dir, "seed": 3}
    return choices_of({"options": options, "dimension": 41, "features": {}, "pretraining": start, "dataset": "tests-4",
                       "protocol": "loso", "environment": {"precision": "bf16", "device": "cpu x 2"}})


def test_result_lines_tell_the_systems_apart():
    lines = {name: described(name).phrase for name in TABLE}
    assert len(set(lines.values())) == len(TABLE) and not any("," in line for line in lines.values())
    usual = "pooling mean 41mel feature-norm utterance-mean crop 40 epochs 3 select best"
    tail = "batch-size 16 lr-milestones 9"
    start = "pretrain vox 9 spk 3f9c2a"
    assert lines["resnet18_pretrain_ad"] == f"backbone resnet18 ad-after last {usual} {tail} {start}"
    assert lines["vgg5_baseline"] == f"backbone vgg5 ad-after none {usual} {tail}"
    assert lines["vgg5_ad_lambda0.1"] == f"backbone vgg5 ad-after last {usual} {tail} ad-weight 0.1"
    assert lines["vgg5_ad_all"].startswith("backbone vgg5 ad-after conv1+conv2+conv3+conv4+conv5 pooling mean 41mel ")
    assert lines["resnet18_adapters"] == (f"backbone resnet18 ad-after none {usual} train-extractor adapters "
                                          f"batch-size 16 extractor-lr-factor 0.1 lr-milestones 9 {start}")
    assert described("vgg5_ad").words.startswith(f"{lines['vgg5_ad']}, bf16 cpu, options ")


def test_the_options_of_the_line_are_data_too():
    named = described("vgg5_ad_lambda0.1")
    assert (named.dataset, named.protocol, named.seed, named.dimension) == ("tests-4", "loso", 3, 41)
    assert named.options["ad_weight"] == 0.1 and named.options["epochs"] == 3 and named.pretraining == {}
    assert "ad_weight" not in described("vgg5_ad").options  # at its default
    assert described("resnet18_pretrain").pretraining == {"dataset": "vox", "num_speakers": 9,
                                                          "options_digest": "3f9c2a"}


@pytest.mark.parametrize("words, said", [
    (("--systems", "vgg5_ad resnet18_pretrain_ad resnet18_frozen", "pretraining"), "resnet18 0 pretrain_resnet18\n"),
    (("--systems", "resnet18_frozen", "--seeds", "1 0 2", "pretraining"),
     "resnet18 1 pretrain_resnet18_seed1\nresnet18 0 pretrain_resnet18\nresnet18 2 pretrain_resnet18_seed2\n"),
    (("--systems", "resnet18_frozen", "--seeds", "1 0 2", "--pretrain-seeds", "07 7 4", "pretraining"),
     "resnet18 7 pretrain_resnet18_seed7\nresnet18 4 pretrain_resnet18_seed4\n"),
    (("--systems", "vgg5_ad", "pretraining"), ""),
    (("--systems", "vgg5_baseline vgg5_ad vgg5_ad_an vgg5_ad_se", "--seeds", "2 0", "attention", "{}", "exp"),
     "exp/vgg5_ad_seed2/fold_s1\nexp/vgg5_ad_se_seed2/fold_s1\n"),
])
def test_what_run_sh_asks_of_the_systems(words, said, tiny):
    assert run("local/experiment/list_systems.py", *(word.replace("{}", str(tiny)) for word in words)).stdout == said


@pytest.mark.parametrize("words, seeds, found", [
    ("", ["0", "3"], {"0": "0", "3": "3"}), ("5", ["0", "3"], {"0": "5", "3": "5"}),
    ("01 1", ["0", "3"], {"0": "1", "3": "1"}), ("2 1", ["0", "3"], {"0": "2", "3": "1"}),
    ("1 2 3", ["0", "3"], "'1 2 3': expected one number for all of --seeds '0 3', or one for each of these 2"),
    ("1 2", ["0", "3", "4"], "'1 2': expected one number for all of --seeds '0 3 4', or one for each of these 3"),
    ("one", ["0"], "'one': expected numbers, such as"), ("-1", ["0"], "'-1': expected numbers, such as"),
])
def test_pretrain_seeds_are_one_for_all_or_one_for_each(words, seeds, found):
    if isinstance(found, dict):
        assert parse_pretrain_seeds(words, seeds) == found
    else:
        with pytest.raises(UserError, match=f"^--pretrain-seeds {found}"):
            parse_pretrain_seeds(words, seeds)


def test_a_seed_of_the_pretraining_changes_the_directory_below_exp_alone():
    options = ("--backbone=resnet18", "--pretrained-dir=EXP/pretrain_resnet18")
    system = systems.System("x", "ResNet18", "Pre-train", options)
    assert system.options_for("e") == ["--backbone=resnet18", "--pretrained-dir=e/pretrain_resnet18"]
    assert system.options_for("e", "12")[1] == "--pretrained-dir=e/pretrain_resnet18_seed12"
    own = systems.System("x", "ResNet18", "Pre-train", ("--pretrained-dir=/my/model",))
    assert own.options_for("e", 12) == ["--pretrained-dir=/my/model"] and own.pretrained is None


def test_attention_that_is_drawn_is_not_drawn_again_unless_the_drawing_was_broken_off(tiny, tmp_path):
    ask = ("local/experiment/list_systems.py", "--systems", "vgg5_ad vgg5_ad_se", "attention", tiny, tmp_path)
    first, second = (tmp_path / name / "fold_s1" / "analysis" for name in ("vgg5_ad", "vgg5_ad_se"))
    with parts(first / "masks.png"):
        (first / "masks.png").touch()
    assert run(*ask).stdout == f"{second.parent}\n"
    with pytest.raises(UserError), parts(first / "masks.png"):
        raise UserError("x")
    assert run(*ask).stdout == f"{first.parent}\n{second.parent}\n"


def test_attention_is_asked_of_models():
    result = run("local/experiment/list_systems.py", "--systems", "vgg5_ad", "attention", check=False)
    assert result.returncode == 1 and "attention takes a data directory and an experiment directory" in result.stderr


def test_an_ablation_is_its_reference_with_the_changed_options():
    ablations = [system for system in TABLE.values() if system.reference]
    assert {system.reference for system in ablations} == {
        "resnet18_pretrain_ad", "vgg5_ad", "resnet18_pretrain", "resnet18_strong", "resnet18_strong_ad"}
    for system in ablations:
        whole = TABLE[system.reference]
        ours, theirs = (dict(word.split("=", 1) for word in each.options) for each in (system, whole))
        assert (system.backbone, system.pretrained) == (whole.backbone, whole.pretrained)
        assert theirs.keys() <= ours.keys() and ours != theirs
        assert all(ours[key] == theirs[key] for key in theirs if key != "--ad-after")


@pytest.mark.parametrize("second, message", [
    ("x y AD --ad-loss=none", "another line has a system x, too"),
    ("y x AD", "expected system, the system that it changes, method and options"),
    ("y VGG5 AD --ad-after=last", "changes VGG5, which conf/systems.conf does not have"),
])
def test_a_wrong_table_is_one_clear_line(second, message, tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "systems.conf").write_text("x VGG5 Baseline --backbone=vgg5\n")
    (tmp_path / "conf" / "ablations.conf").write_text(f"# two\n{second}\n")
    monkeypatch.setenv("SER_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=rf"ablations.conf:2: {message}"):
        systems.read_systems()


def test_changed_options_replace_or_follow():
    assert systems.changed(("--a=1", "--b=2"), ["--c=3", "--a=4"]) == ("--a=4", "--b=2", "--c=3")


@pytest.mark.parametrize("names, message", [
    (["vgg5_ad", "vgg5"], "no system 'vgg5'; similar: vgg5_baseline vgg5_ad vgg5_strong vgg5_strong_ad"),
    (["vgg5_adse"], r"no system 'vgg5_adse'; similar: vgg5_ad_se [a-z0-9_ ]*"), (["zzz"], "no system 'zzz'"),
    ([], "no system is named")])
def test_an_unknown_system_names_similar_ones_and_both_files(names, message):
    with pytest.raises(UserError, match=f"^{message}; conf/systems.conf and conf/ablations.conf name them all$"):
        systems.find_systems(names)


def test_frozen_extractor_stays_as_pretrained(tiny, exp, tmp_path):
    learn("resnet18_frozen", tiny, tmp_path / "m", exp)
    start, _ = load_tensors(exp / "pretrain_resnet18" / "best.safetensors")
    end, _ = load_tensors(tmp_path / "m" / "last.safetensors")
    extractor = {name for name in end if name.startswith("extractor.")}
    assert extractor == end.keys() - {"classifier.weight", "classifier.bias"}
    assert any("running_mean" in name for name in extractor)
    assert all(torch.equal(end[name], start[name]) for name in extractor)
    learn("resnet18_frozen", tiny, tmp_path / "longer", exp, words=["--epochs=4"])
    longer, _ = load_tensors(tmp_path / "longer" / "last.safetensors")
    assert not torch.equal(longer["classifier.weight"], end["classifier.weight"])


def test_adapters_norms_and_classifier_alone_learn(tiny, exp, tmp_path):
    learn("resnet18_adapters", tiny, tmp_path / "m", exp)
    start, _ = load_tensors(exp / "pretrain_resnet18" / "best.safetensors")
    end, _ = load_tensors(tmp_path / "m" / "last.safetensors")
    assert all(torch.equal(end[name], start[name]) for name in end if name.endswith(".conv.weight"))
    assert all(not torch.equal(end[name], start[name]) for name in end if ".norm." in name)
    adapters = [name for name in end if ".adapter." in name]
    assert len(adapters) == 16 and all(end[name].abs().max() > 0 for name in adapters)
    assert all(".stage" in name and end[name].shape[2:] == (1, 1) for name in adapters)
    score(tmp_path / "m", tiny, CPU)
    assert " train-extractor adapters " in (tmp_path / "m" / "RESULT").read_text()


def test_fresh_adapters_change_nothing():
    plain, adapted = model_of(), model_of(train_extractor="adapters")
    missing, unexpected = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".adapter." in name for name in missing)
    x = torch.randn(3, 50, 41)
    for mode in (True, False):
        assert torch.equal(plain.train(mode)(x)[0], adapted.train(mode)(x)[0])
    with torch.no_grad():
        adapted.extractor.layers["stage2"].block1.conv2.conv.adapter.weight.add_(0.1)
    assert not torch.allclose(plain(x)[0], adapted(x)[0])


def test_what_stays_as_pretrained_needs_a_pretraining():
    with pytest.raises(UserError, match="train-extractor none keeps weights of a pre-training; give --pretrained-dir"):
        task_of("vgg5_baseline", words=["--train-extractor=none"])
    with pytest.raises(UserError, match="no residual blocks"):
        model_of(backbone="vgg5", train_extractor="adapters")


def test_reversed_gradient_is_minus_weight_times_the_plain_one():
    model = model_of(backbone="vgg5", adversary_weight=0.3)
    x, speakers = torch.randn(6, 40, 41), torch.arange(6)
    extractor, head = list(model.extractor.parameters()), list(model.adversary.parameters())
    embedding = model.extractor(x)[0]
    plain = torch.nn.functional.cross_entropy(model.adversary.classifier(embedding), speakers)
    ours = speaker_loss(model(x)[2], speakers)
    assert torch.allclose(ours, plain)
    expected, found = (torch.autograd.grad(loss, extractor + head) for loss in (plain, ours))
    for position, (wanted, gradient) in enumerate(zip(expected, found, strict=True)):
        factor = -0.3 if position < len(extractor) else 1
        assert wanted.abs().max() > 0 and torch.allclose(gradient, factor * wanted, rtol=1e-3, atol=1e-6)


def test_without_weight_there_is_no_adversary():
    assert not any("adversary" in name for name in model_of().state_dict())
    assert any("adversary" in name for name in model_of(adversary_weight=0.1).state_dict())
    with pytest.raises(ValueError, match="adversary-weight must be 0 or more, not -1"):
        model_of(adversary_weight=-1)


def test_unknown_speakers_count_for_nothing():
    logits = torch.randn(5, 8, requires_grad=True)
    some = torch.tensor([3, -1, 0, -1, 7])
    known = torch.nn.functional.cross_entropy(logits[some >= 0], some[some >= 0])
    assert torch.allclose(speaker_loss(logits, some), known)
    none = speaker_loss(logits, torch.full((5,), -1))
    none.backward()
    assert none.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("terms, learning", [("both", {"emotion_heads", "speaker_heads"}), ("plus", {"emotion_heads"}),
                                             ("minus", {"speaker_heads"}), ("none", set())])
def test_a_dropped_term_of_the_loss_moves_nothing(terms, learning):
    model = model_of(backbone="vgg5", ad_after="last")
    logits, dual, _ = model(torch.randn(6, 40, 41))
    emotions, speakers = torch.tensor([0, 1, 2, 3, 0, 1]), torch.arange(6)
    loss = overall_loss(logits, dual, emotions, speakers, 0.5, terms=terms)
    loss.backward()
    moved = {name.split(".")[0] for name, parameter in model.named_parameters()
             if parameter.grad is not None and parameter.grad.any()}
    assert moved == {"extractor", "classifier"} | learning
    entropy = torch.nn.functional.cross_entropy
    both = {"emotion_heads": entropy(dual[0][0], emotions), "speaker_heads": entropy(dual[0][1], speakers)}
    assert torch.allclose(loss, entropy(logits, emotions) + 0.5 * sum(both[head] for head in learning))


SPEAKERS = {"anna": {"neu": 4, "ang": 3, "sad": 1}, "ben": {"neu": 1, "ang": 5}, "carl": {"ang": 2, "sad": 6}}


@pytest.fixture
def copypaste():
    """CopyPaste on utterances of 20 to 40 frames, whose frames are the utterance's position and their own place."""
    labels = {f"{speaker}-{emotion}{take}": emotion for speaker, counts in SPEAKERS.items()
              for emotion, count in counts.items() for take in range(count)}
    labels |= {"dora-ang": "ang", "dora-neu": "neu"}  # validates
    utts = list(labels)
    speakers = {utt: utt.split("-")[0] for utt in utts}
    data = FoldData("data", "fold", {"train": utts[:-2], "valid": utts[-2:], "test": []}, labels, speakers,
                    ["ang", "neu", "sad"], sorted(SPEAKERS))
    lengths = [20 + number % 21 for number in range(len(utts))]
    frames = torch.cat([torch.stack([torch.full((length,), float(number)), torch.arange(float(length))], 1)
                        for number, length in enumerate(lengths)])
    bank = FeatureBank(utts, lengths, frames.numpy())
    return CopyPaste(bank, bank, data, "neu"), data, utts


def test_joined_crops_come_from_where_they_should(copypaste):
    source, data, utts = copypaste
    which = source.source.indices(data.parts["train"]).repeat(40)
    crops = source.crops(which, 11, torch.Generator().manual_seed(0))
    assert crops.shape == (len(which), 11, 2)
    joined, pairs, places = 0, set(), set()
    for position, crop in zip(which.tolist(), crops, strict=True):
        halves = [crop[:5], crop[5:]]
        for half in halves:
            length = int(source.source.lengths[int(half[0, 0])])
            assert (half[:, 0] == half[0, 0]).all() and (half[1:, 1] == (half[:-1, 1] + 1) % length).all()
        owners = [int(half[0, 0]) for half in halves]
        assert position in owners
        partner = owners[owners[0] == position]
        if partner != position:
            joined += 1
            (speaker, emotion), (other, theirs) = ((data.speakers[utts[n]], data.labels[utts[n]])
                                                   for n in (position, partner))
            assert speaker == other and theirs in (emotion, "neu")
            pairs.add((speaker, emotion, theirs))
            places.add(owners.index(position))
    assert places == {0, 1}
    assert pairs == {("anna", "neu", "neu"), ("anna", "ang", "ang"), ("anna", "ang", "neu"), ("anna", "sad", "neu"),
                     ("ben", "ang", "ang"), ("ben", "ang", "neu"), ("carl", "ang", "ang"), ("carl", "sad", "sad")}
    assert 0.7 * SHARE < joined / len(which) < SHARE  # an utterance may be its own partner


def test_joined_crops_follow_the_generator_and_come_in_parts(copypaste):
    source, data, _ = copypaste
    which = source.source.indices(data.parts["train"])
    whole, again, other = (source.crops(which, 12, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(whole, again) and not torch.equal(whole, other)
    for rank in range(2):
        part = slice(rank, None, 2)
        assert torch.equal(source.crops(which, 12, torch.Generator().manual_seed(1), part), whole[part])


def test_copypaste_needs_the_neutral_class(tiny, exp, tmp_path):
    with pytest.raises(UserError, match="has no class 'neu' for CopyPaste, but ang sad; .* --neutral-class"):
        learn("resnet18_copypaste", tiny, tmp_path / "m", exp)
    assert not (tmp_path / "m" / "config.json").exists()


class Killed(Exception):
    pass


@pytest.mark.parametrize("name, words", [
    ("resnet18_frozen", []), ("resnet18_adapters", ["--adversary-weight=0.1"]),
    ("vgg5_ad_noloss", ["--augment=copypaste", "--neutral-class=sad"])])
def test_killed_and_resumed_ends_with_the_same_weights(name, words, tiny, exp, tmp_path, monkeypatch):
    learn(name, tiny, tmp_path / "whole", exp, words)

    def killed_in_epoch_3(epochs, **_):
        for epoch in epochs:
            if epoch == 3:
                raise Killed
            yield epoch

    with monkeypatch.context() as patch:
        patch.setattr("ser.train.trainer.progress", killed_in_epoch_3)
        with pytest.raises(Killed):
            learn(name, tiny, tmp_path / "killed", exp, words)
    assert (tmp_path / "killed" / "state.safetensors").exists()
    learn(name, tiny, tmp_path / "killed", exp, words)
    for file in ("last.safetensors", "best.safetensors", "log/epochs.tsv"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    model, config = load_emotion_model(tmp_path / "killed")
    assert config == load_config(tmp_path / "killed") and not model.training


def test_copypaste_trains_other_weights(tiny, exp, tmp_path):
    learn("vgg5_baseline", tiny, tmp_path / "plain", exp)
    learn("vgg5_baseline", tiny, tmp_path / "joined", exp, ["--augment=copypaste", "--neutral-class=sad"])
    plain, joined = (load_tensors(tmp_path / name / "last.safetensors")[0] for name in ("plain", "joined"))
    assert any(not torch.equal(plain[name], joined[name]) for name in plain)
