"""What fine-tuning and pre-training hand to the trainer: rates, loss and utterances; and no option is lost."""

import shutil
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from ser.base.errors import UserError
from ser.data.data_dir import read_list
from ser.data.feature_bank import FeatureBank, load_bank
from ser.infer.evaluation import score
from ser.model_dir.checkpoint import load_config, load_tensors
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.margin_softmax import angular_margin_loss
from ser.nn.options import EmotionModelConfig
from ser.train import finetuning
from ser.train.augmentation import AUGMENTATIONS
from ser.train.copypaste import CopyPaste
from ser.train.finetuning import finetune, finished_task
from ser.train.pretrain_config import PretrainConfig
from ser.train.pretraining import pretrain
from ser.train.task import Task
from ser.train.trainer import Trainer

CPU = torch.device("cpu")
MODEL = {"backbone": "vgg5", "ad_after": "last"}
CONFIG = {"epochs": 2, "batch_size": 16, "crop": 20, "lr_milestones": "2", "extractor_lr_factor": 1.0,
          "ad_lr_factor": 1.0}
HOW = {"device": CPU, "precision": "fp32", "restart": True}


@pytest.fixture(scope="module")
def uneven(tiny, tmp_path_factory):
    """`tiny` with fewer sad utterances in the training part of fold_s1, so that classes weigh differently."""
    data = tmp_path_factory.mktemp("uneven") / "data"
    shutil.copytree(tiny, data)
    path = data / "folds" / "fold_s1" / "train"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "-sad" not in line or line.endswith(("0\n", "1\n"))))
    return data


@pytest.fixture(scope="module")
def pretrained(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "pretrain_vgg5"
    pretrain(directory, tiny, PretrainConfig(backbone="vgg5", epochs=1, crop=20), seed=5, **HOW)
    return str(directory)


def task(data, model_dir, pretrained_dir=None, model=(), config=(), seed=0):
    return Task(model_dir=str(model_dir), data_dir=str(data), fold="fold_s1", pretrained_dir=pretrained_dir, seed=seed,
                model=EmotionModelConfig(**{**MODEL, **dict(model)}),
                config=FinetuneConfig(**{**CONFIG, **dict(config)}))


@pytest.fixture
def untrained_speaker_model(tiny, tmp_path, monkeypatch):
    """Give the trainer of a pre-training that has made no step."""
    def begin(seed=0, **options):
        trainers = []

        def run(self):
            self.best, self.best_weights = 50.0, self._weights()
            trainers.append(self)

        monkeypatch.setattr(Trainer, "run", run)
        pretrain(tmp_path / "m", tiny, PretrainConfig(**{"backbone": "vgg5", "crop": 20, **options}), seed=seed, **HOW)
        return trainers[0]

    return begin


@pytest.fixture
def untrained(uneven, tmp_path, monkeypatch):
    """Give the trainer of a fine-tuning that has made no step."""
    def begin(**options):
        monkeypatch.setattr(Trainer, "run", lambda self: None)
        return finetune(task(uneven, tmp_path / "m", **options), **HOW)

    return begin


def emotions_of(utts):
    """Emotion targets of utterances such as s2-ang3."""
    return torch.tensor([["ang", "sad"].index(utt[3:6]) for utt in utts])


@pytest.mark.parametrize("is_pretrained", [True, False])
def test_extractor_ad_modules_and_heads_learn_at_their_own_rates(is_pretrained, untrained, pretrained):
    trainer = untrained(pretrained_dir=pretrained if is_pretrained else None,
                        model={"ad_after": "conv2,last", "adversary_weight": 0.1, "pooling": "attentive"},
                        config={"lr": 0.01, "extractor_lr_factor": 0.02, "ad_lr_factor": 0.3})
    rates = {id(parameter): group["lr"] for group in trainer.optimizer.param_groups for parameter in group["params"]}
    of_name = {name: rates[id(parameter)] for name, parameter in trainer.model.named_parameters()}
    assert {name.split(".")[0] for name in of_name} == {"extractor", "classifier", "emotion_heads", "speaker_heads",
                                                        "adversary"}
    assert {"extractor.ad.conv2.norm.weight", "extractor.ad.conv5.attention.time_up.weight",
            "extractor.pools.conv2.score.weight"} <= of_name.keys()
    for name, rate in of_name.items():
        factor = 0.3 if ".ad." in name else 0.02 if name.startswith("extractor.") else 1
        assert rate == pytest.approx(0.01 * factor), name


def test_the_optimizer_is_plain_adam(untrained):
    for group in untrained().optimizer.param_groups:
        assert group["betas"] == (0.9, 0.999) and group["eps"] == 1e-8
        assert not (group["weight_decay"] or group["amsgrad"] or group["maximize"])


def test_weight_decay_is_that_of_adamw(untrained, untrained_speaker_model):
    for trainer in (untrained(config={"weight_decay": 0.1}), untrained_speaker_model(weight_decay=0.1)):
        assert all(group["weight_decay"] == 0.1 and group["decoupled_weight_decay"]
                   for group in trainer.optimizer.param_groups)


def test_weights_and_crops_come_from_the_seed(untrained):
    one, again, other = (untrained(seed=seed) for seed in (3, 3, 4))
    assert (one.plan.seed, other.plan.seed) == (3, 4)
    weights = [trainer.model.state_dict()["extractor.layers.conv3.conv.conv.weight"] for trainer in (one, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_rates_fall_at_the_milestones_by_the_decay(untrained):
    schedule = untrained(config={"lr_milestones": "2,4", "lr_decay": 0.5}).plan.schedule
    assert [schedule(epoch, 0.0) for epoch in range(1, 6)] == [1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("ad_loss, of_emotion, of_speaker", [("both", 0.7, 0.7), ("plus", 0.7, 0), ("minus", 0, 0.7)])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_loss_is_that_of_section_3_1_3(ad_loss, of_emotion, of_speaker, weights, untrained, uneven):
    trainer = untrained(model={"adversary_weight": 0.1},
                        config={"ad_weight": 0.7, "ad_loss": ad_loss, "class_weights": weights})
    train = read_list(uneven / "folds" / "fold_s1" / "train")
    target_of = {name: target for target, name in enumerate(sorted({utt[:2] for utt in train}))}
    emotions = emotions_of(trainer.bank.utts)
    speakers = torch.tensor([target_of.get(utt[:2], -1) for utt in trainer.bank.utts])
    balanced = compute_class_weight("balanced", classes=np.arange(2), y=emotions_of(train).numpy())
    assert balanced[1] > 1.2 * balanced[0]
    weight = torch.tensor(balanced).float() if weights == "balanced" else None

    positions = trainer.positions[::3]
    features = trainer.bank.crops(positions, 30, torch.Generator().manual_seed(0))
    model = trainer.model.eval()
    (logits, [(plus, minus)], adversary), emotions, speakers = model(features), emotions[positions], speakers[positions]
    assert speakers.min() == 0 and plus.shape[1] == 2 and minus.shape[1] == adversary.shape[1] == speakers.max() + 1
    expected = (cross_entropy(logits, emotions, weight) + of_emotion * cross_entropy(plus, emotions, weight)
                + of_speaker * cross_entropy(minus, speakers) + cross_entropy(adversary, speakers))
    assert trainer.loss(model, features, positions).item() == pytest.approx(expected.item(), rel=1e-5)


def test_label_smoothing_is_of_both_emotion_losses_and_not_of_the_speakers(untrained):
    losses = {}
    for smoothing in (0.0, 0.3):
        trainer = untrained(config={"label_smoothing": smoothing})
        positions, model = trainer.positions[::3], trainer.model.eval()
        features = trainer.bank.crops(positions, 30, torch.Generator().manual_seed(0))
        losses[smoothing] = trainer.loss(model, features, positions).item()
    logits, [(plus, _)], _ = model(features)
    emotions = emotions_of(trainer.bank.utts)[positions]
    difference = sum(weight * (cross_entropy(scores, emotions, label_smoothing=0.3) - cross_entropy(scores, emotions))
                     for weight, scores in ((1, logits), (0.5, plus)))
    assert losses[0.3] - losses[0.0] == pytest.approx(difference.item(), rel=1e-3) and abs(difference) > 1e-4


def test_an_extractor_without_ad_learns_from_the_emotions_alone(untrained):
    trainer = untrained(model={"ad_after": "none"})
    features = trainer.bank.crops(trainer.positions, 30, torch.Generator().manual_seed(0))
    model = trainer.model.eval()
    emotions = emotions_of(trainer.bank.utts)[trainer.positions]
    expected = cross_entropy(model(features)[0], emotions)
    assert trainer.loss(model, features, trainer.positions).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_training_part_trains_and_whole_utterances_of_the_validation_part_validate(untrained, uneven):
    trainer = untrained()
    parts = {name: read_list(uneven / "folds" / "fold_s1" / name) for name in ("train", "valid", "test")}
    assert [trainer.bank.utts[position] for position in trainer.positions] == parts["train"]
    assert not set(trainer.bank.utts) & set(parts["test"])

    # Make the network guess both classes, and none by a hair, as other kernels round otherwise.
    alone = load_bank(uneven, parts["valid"], "utterance-mean")
    whole = [alone.frames_of(torch.tensor([number])) for number in range(len(parts["valid"]))]
    model = trainer.model.eval()
    with torch.no_grad():
        logits = torch.cat([model(features[None])[0] for features in whole])
        margins = (logits[:, 0] - logits[:, 1]).sort().values
        widest = margins.diff().argmax()
        model.classifier.bias[0] -= margins[widest:widest + 2].mean()
        guesses = torch.cat([model(features[None])[0] for features in whole]).argmax(1)
    assert 0 < guesses.sum() < len(guesses)

    seen = []
    hook = model.register_forward_pre_hook(lambda module, inputs: seen.append((*inputs, module.training)))
    expected = 100 * f1_score(emotions_of(parts["valid"]), guesses, average="weighted")
    model.train()
    assert trainer.validate() == pytest.approx(expected) and model.training
    hook.remove()
    assert not any(is_training for _, _, is_training in seen)
    taken = [row[:length] for features, lengths, _ in seen for row, length in zip(features, lengths, strict=True)]
    ours, theirs = ({frames.numpy().tobytes() for frames in utterances} for utterances in (taken, whole))
    assert ours == theirs and len(taken) == len(whole)


def test_corpus_statistics_are_those_of_the_training_part(untrained, uneven):
    extractor = untrained(config={"feature_norm": "corpus"}).model.extractor
    bank = load_bank(uneven, read_list(uneven / "folds" / "fold_s1" / "train"))
    frames = bank.frames_of(torch.arange(len(bank.utts))).double().numpy()
    assert np.allclose(extractor.feature_mean, frames.mean(0), rtol=1e-5)
    assert np.allclose(extractor.feature_std, frames.std(0, ddof=1), rtol=1e-5)


def test_a_pretrained_extractor_is_the_start_with_its_statistics_and_nothing_else(untrained, pretrained):
    theirs, _ = load_tensors(f"{pretrained}/best.safetensors")
    trainer = untrained(pretrained_dir=pretrained)
    ours, at_random = trainer.model.state_dict(), untrained().model.state_dict()
    copied = {name for name in theirs if name.startswith("extractor.")}
    assert {name for name in copied if "running_var" in name} and copied < ours.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name] if name in copied else at_random[name]), name
    assert not torch.equal(theirs["classifier.weight"][:2], ours["classifier.weight"])


@pytest.fixture(scope="module")
def pretrained_attentively(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "pretrain_vgg5"
    pretrain(directory, tiny, PretrainConfig(backbone="vgg5", epochs=1, crop=20, pooling="attentive"), seed=5, **HOW)
    return str(directory)


def test_a_pooling_is_taken_over_from_one_of_its_kind_and_starts_anew_from_another(untrained, pretrained,
                                                                                  pretrained_attentively):
    theirs, _ = load_tensors(f"{pretrained_attentively}/best.safetensors")
    name, convolution = "extractor.pools.conv5.score.weight", "extractor.layers.conv3.conv.conv.weight"
    options = {"pooling": "attentive", "ad_after": "conv3,last"}
    same_kind = untrained(pretrained_dir=pretrained_attentively, model=options).model.state_dict()
    assert torch.equal(same_kind[name], theirs[name]) and "extractor.pools.conv3.score.weight" in same_kind
    anew = untrained(pretrained_dir=pretrained, model=options).model.state_dict()
    assert torch.equal(anew[name], untrained(model=options).model.state_dict()[name])
    none = untrained(pretrained_dir=pretrained_attentively, model={"pooling": "stats"}).model.state_dict()
    assert not any(".pools." in name for name in none) and torch.equal(none[convolution], theirs[convolution])


@pytest.mark.parametrize("options, said", [
    ({"model": {"backbone": "resnet18"}}, "pre-trained with backbone=vgg5, fine-tuning asks for resnet18"),
    ({"config": {"feature_norm": "none"}}, "pre-trained with feature_norm=utterance-mean, fine-tuning asks for none")])
def test_a_pretraining_of_another_kind_is_refused(options, said, untrained, pretrained):
    with pytest.raises(UserError, match=said):
        untrained(pretrained_dir=pretrained, **options)


def test_copypaste_takes_the_banks_place(untrained):
    copypaste = untrained(config={"augment": "copypaste", "neutral_class": "sad"}).bank
    bank, train = copypaste.source, copypaste.members
    own, neutral = ({bank.utts[position] for position in
                     copypaste.partners(train, torch.full((len(train),), want), torch.full((len(train),), 0.99))}
                    for want in (False, True))
    assert {utt[3:6] for utt in own} == {"ang", "sad"} and {utt[3:6] for utt in neutral} == {"sad"}
    # Each utterance of a group is a partner for an equal share of the fractions.
    of_group = [utt for utt in bank.utts if utt.startswith("s3-ang")]
    first, = bank.indices(of_group[:1])
    fractions = (torch.arange(len(of_group)) + 0.5) / len(of_group)
    partners = copypaste.partners(first.repeat(len(of_group)), torch.zeros(len(of_group), dtype=bool), fractions)
    assert sorted(bank.utts[partner] for partner in partners) == of_group and len(of_group) == 6


def test_augmentations_take_the_banks_place_in_the_order_given(untrained, untrained_speaker_model):
    def kinds(source):
        return [] if isinstance(source, FeatureBank) else [*kinds(source.source), type(source)]

    names = "warp,copypaste,noise"
    found = kinds(untrained(config={"augment": names, "neutral_class": "sad"}).bank)
    assert found == [AUGMENTATIONS["warp"], CopyPaste, AUGMENTATIONS["noise"]]
    assert kinds(untrained().bank) == kinds(untrained_speaker_model().bank) == []
    found = kinds(untrained_speaker_model(augment="speed,specaugment").bank)
    assert found == [AUGMENTATIONS["speed"], AUGMENTATIONS["specaugment"]]


def trained(model_dir):
    """The weights of the network that a finished directory gives."""
    return load_emotion_model(model_dir)[0].state_dict()


def same(weights, others):
    return weights.keys() == others.keys() and all(
        weights[name].shape == others[name].shape and torch.equal(weights[name], others[name]) for name in weights)


# option: another value, and the options with which it matters
EMOTION_OPTIONS = {
    "backbone": ("resnet18", {}), "ad_after": ("none", {}), "attention": ("se", {}), "attention_dim": (4, {}),
    "pooling": ("attentive", {}), "ad_head": ("shared", {}),
    "train_extractor": ("none", {"pretrained": True}), "adversary_weight": (0.5, {}),
    "epochs": (3, {"select": "last"}), "batch_size": (9, {}), "lr": (0.02, {}),
    "extractor_lr_factor": (0.5, {}), "ad_lr_factor": (0.5, {}),
    "min_steps": (12, {"lr_schedule": "cosine", "select": "last"}),
    "lr_schedule": ("cosine", {"select": "last"}), "lr_milestones": ("1", {}),
    "lr_decay": (0.5, {"select": "last"}), "ad_weight": (0.7, {}), "ad_loss": ("plus", {}), "crop": (21, {}),
    "feature_norm": ("utterance", {}), "class_weights": ("balanced", {}),
    "label_smoothing": (0.2, {}), "weight_decay": (0.1, {}),
    "augment": ("copypaste", {"neutral_class": "sad"}), "neutral_class": ("ang", {"augment": "copypaste"}),
    "select": ("last", {}),
}


def test_every_option_has_its_case():
    assert EMOTION_OPTIONS.keys() == {field.name for kind in (EmotionModelConfig, FinetuneConfig)
                                      for field in fields(kind)}


@pytest.mark.parametrize("option", EMOTION_OPTIONS)
def test_an_option_of_fine_tuning_changes_the_network(option, uneven, pretrained, tmp_path, monkeypatch):
    falling = iter(range(100, 0, -1))  # so that the best epoch is not the last
    monkeypatch.setattr(finetuning, "scores_of", lambda confusion: SimpleNamespace(wf1=next(falling)))
    value, with_these = EMOTION_OPTIONS[option]
    common = {"neutral_class": "sad", **with_these}
    start = pretrained if common.pop("pretrained", False) else None
    of_model = {field.name for field in fields(EmotionModelConfig)}
    for name, options in (("as it was", common), ("changed", {**common, option: value})):
        model = {key: options[key] for key in options if key in of_model}
        config = {key: options[key] for key in options if key not in of_model}
        finetune(task(uneven, tmp_path / name, start, model, config), **HOW)
    assert not same(trained(tmp_path / "as it was"), trained(tmp_path / "changed"))


@pytest.mark.parametrize("is_pretrained", [False, True])
def test_a_finished_directory_gives_its_task_again(is_pretrained, uneven, pretrained, tmp_path):
    start = pretrained if is_pretrained else None
    this = task(uneven, tmp_path / "m", start, {"attention": "se"}, {"epochs": 1}, seed=7)
    finetune(this, **HOW)
    with pytest.raises(UserError, match="RESULT: not there; train the model first"):
        finished_task(tmp_path / "m")
    score(tmp_path / "m", uneven, CPU)
    assert finished_task(tmp_path / "m") == this


def test_a_pretraining_that_is_done_is_not_made_again_and_says_what_it_was_made_from(tiny, pretrained):
    config = load_config(pretrained)
    counts = {part: len(read_list(tiny / "identification" / part)) for part in ("train", "valid")}
    assert config["utterances"] == counts and config["num_speakers"] == 4 and config["environment"]
    again = PretrainConfig(backbone="vgg5", epochs=1, crop=20)
    assert pretrain(pretrained, tiny, again, seed=5, **{**HOW, "restart": False}) is False


@pytest.mark.parametrize("speakers", [("s1",), ("s1", "s2")])
def test_pre_training_takes_two_speakers_and_not_one(speakers, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "data")
    for part in ("train", "valid"):
        path = tmp_path / "data" / "identification" / part
        path.write_text("".join(f"{utt}\n" for utt in read_list(path) if utt.startswith(speakers)))
    config = PretrainConfig(backbone="vgg5", epochs=1, crop=20)
    if len(speakers) == 1:
        with pytest.raises(UserError, match="pre-training needs 2 or more speakers, found 1"):
            pretrain(tmp_path / "m", tmp_path / "data", config, seed=0, **HOW)
    else:
        assert pretrain(tmp_path / "m", tmp_path / "data", config, seed=0, **HOW) is True


PRETRAIN_OPTIONS = {"backbone": "resnet18", "epochs": 2, "batch_size": 20, "lr": 0.01, "warmup": 0.9, "crop": 21,
                    "feature_norm": "utterance", "pooling": "time", "augment": "noise", "weight_decay": 0.1,
                    "margin": 0.2}


def test_every_option_of_pre_training_changes_the_network(tiny, tmp_path):
    of_processes = {"global_batch", "sync_batch_norm"}  # tests/steps/ser/train/test_distributed.py
    assert PRETRAIN_OPTIONS.keys() | of_processes == {field.name for field in fields(PretrainConfig)}
    weights = {}
    for option, value in {"": None, **PRETRAIN_OPTIONS}.items():
        options = {"backbone": "vgg5", "epochs": 1, "batch_size": 16, "crop": 20, **({option: value} if option else {})}
        pretrain(tmp_path / f"m{option}", tiny, PretrainConfig(**options), seed=0, **HOW)
        weights[option], _ = load_tensors(tmp_path / f"m{option}" / "last.safetensors")
    for option in PRETRAIN_OPTIONS:
        assert not same(weights[option], weights[""]), option


def test_weights_and_crops_of_pre_training_come_from_the_seed(untrained_speaker_model):
    one, again, other = (untrained_speaker_model(seed) for seed in (3, 3, 4))
    assert (one.plan.seed, other.plan.seed) == (3, 4)
    weights = [trainer.model.state_dict()["extractor.layers.conv3.conv.conv.weight"] for trainer in (one, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_corpus_statistics_of_pre_training_are_those_of_its_training_part(untrained_speaker_model, tiny):
    extractor = untrained_speaker_model(feature_norm="corpus").model.extractor
    bank = load_bank(tiny, read_list(tiny / "identification" / "train"), dtype=np.float16)
    frames = bank.frames_of(torch.arange(len(bank.utts))).double().numpy()
    assert np.allclose(extractor.feature_mean, frames.mean(0), rtol=1e-5)
    assert np.allclose(extractor.feature_std, frames.std(0, ddof=1), rtol=1e-5)
    other = untrained_speaker_model(feature_norm="utterance-mean").model.extractor
    assert not other.feature_mean.any() and (other.feature_std == 1).all()


@pytest.mark.parametrize("options, message", [
    ({"lr": 0.0}, "lr must lie above 0, not 0.0"), ({"warmup": 0.0}, "warmup must lie between 0 and 1, not 0.0"),
    ({"warmup": 1.0}, "warmup must lie between"), ({"epochs": 0}, "must be 1 or more"),
    ({"batch_size": 0}, "must be 1 or more"), ({"crop": 0}, "must be 1 or more"),
    ({"weight_decay": -0.1}, "weight-decay must be 0 or more, not -0.1"),
    ({"margin": -0.1}, "margin must be 0 or more"), ({"margin": 1.6}, "and below pi / 2, not 1.6"),
    ({"augment": "copypaste"}, "no 'copypaste'; there are specaugment noise speed warp, several with commas between")])
def test_options_of_pre_training_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**options)
    PretrainConfig(epochs=1, batch_size=1, crop=1, lr=1e-9, warmup=0.999)


@pytest.mark.parametrize("options, message", [
    ({"weight_decay": -0.1}, "weight-decay must be 0 or more, not -0.1"),
    ({"label_smoothing": 1.0}, "label-smoothing must be 0 or more and below 1, not 1.0"),
    ({"ad_lr_factor": -1.0}, "lr and its factors must not lie below 0")])
def test_options_of_fine_tuning_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**options)


def test_with_a_margin_speakers_are_told_apart_by_angles(untrained_speaker_model):
    trainer = untrained_speaker_model(margin=0.2)
    features = trainer.bank.crops(trainer.positions, 20, torch.Generator().manual_seed(0))
    speakers = torch.tensor([["s1", "s2", "s3", "s4"].index(trainer.bank.utts[each][:2]) for each in trainer.positions])
    model = trainer.model.eval()
    assert set(dict(model.classifier.named_parameters())) == {"weight"} and model(features).abs().max() <= 1 + 1e-6
    expected = angular_margin_loss(model(features), speakers, 0.2)
    assert trainer.loss(model, features, trainer.positions).item() == pytest.approx(expected.item(), rel=1e-5)


def test_pre_training_tells_speakers_apart_and_counts_held_out_utterances(tiny, untrained_speaker_model):
    trainer = untrained_speaker_model(lr=0.003, warmup=0.25)
    parts = {name: read_list(tiny / "identification" / name) for name in ("train", "valid")}
    assert [trainer.bank.utts[position] for position in trainer.positions] == parts["train"]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.003]
    assert trainer.plan.schedule(1, 0.125) == pytest.approx(0.5)

    features = trainer.bank.crops(trainer.positions, 20, torch.Generator().manual_seed(0))
    model = trainer.model.eval()
    speakers = torch.tensor([["s1", "s2", "s3", "s4"].index(utt[:2]) for utt in parts["train"]])
    expected = cross_entropy(model(features), speakers)
    assert trainer.loss(model, features, trainer.positions).item() == pytest.approx(expected.item(), rel=1e-5)

    with torch.no_grad():  # a network that always says s3
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    is_right = [utt.startswith("s3") for utt in parts["valid"]]
    assert trainer.validate() == pytest.approx(100 * np.mean(is_right)) and 0 < np.mean(is_right) < 1
