"""local/results/make_cross.py and compare.py on scores that no network gave: what is averaged, and over what."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import f1_score

from conftest import run
from local.experiment.cross import PAIR, PLAN, REFERENCES, Corpus, CrossPlan, Pair
from made_up_results import write_fold
from ser.data.data_dir import write_list, write_table
from ser.infer.cross_results import CrossResults
from ser.infer.results_file import FoldResults, read_results, write_results

SEEDS, SYSTEMS = ("0", "1", "2"), ("vgg5_baseline", "vgg5_ad")
A, B = ("ang", "hap", "neu"), ("anger", "dis", "hap", "neu")  # hap and neu, and anger by another name
FOLDS = {"a": ["fold_p", "fold_q"], "b": [f"fold_s{number}" for number in range(7)]}


def write_scores(directory, classes, references, skill, rng, dataset, seed):
    """A fold's files with random probabilities; returns them by utterance."""
    said, rows = {}, {}
    for utt, reference in references.items():
        p = rng.dirichlet(np.ones(len(classes)))
        p[classes.index(reference)] += skill
        rows[utt] = np.round(p / p.sum(), 6)
        said[utt] = reference, classes[int(rows[utt].argmax())]
    write_fold(directory, list(classes), said, dataset, int(seed))
    (directory / "score" / "per_utt").write_text("".join(
        f"{utt} {' '.join(said[utt])} {' '.join(f'{value:.6f}' for value in row)}\n" for utt, row in rows.items()))
    return rows


def name_of(system, seed):
    return f"{system}_seed{seed}" if seed != "0" else system


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Experiments a and b, models of each scored on the other, and
    `{(what, corpus, system, seed, fold): {utt: probabilities}}`."""
    place, rng, truth = tmp_path_factory.mktemp("cross"), np.random.default_rng(0), {}
    references = {}
    for name, labels, speakers in (("a", A, ("p", "q")), ("b", B, [f"s{number}" for number in range(7)])):
        references[name] = {f"{speaker}-{label}{take}": label for speaker in speakers for label in labels
                            for take in range(6)}
        data = place / name
        (data / "folds").mkdir(parents=True)
        (data / "dataset").write_text(f"{name}-4\n")
        (data / "folds" / "protocol").write_text("loso\n")
        write_list(data / "folds" / "list", FOLDS[name])
        write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in references[name]})
        for system in SYSTEMS:
            for seed in SEEDS:
                for fold in FOLDS[name]:
                    tested = {utt: label for utt, label in references[name].items()
                              if utt.startswith(f"{fold.removeprefix('fold_')}-")}
                    directory = place / "exp" / name / name_of(system, seed) / fold
                    truth["own", name, system, seed, fold] = write_scores(directory, labels, tested, 0.3, rng,
                                                                          f"{name}-4", seed)
    scored = {"b": {utt: {"anger": "ang"}.get(label, label) for utt, label in references["b"].items()
                    if label != "dis"},
              "a": references["a"]}
    label_map = {"a": {label: label for label in A}, "b": {"anger": "ang", "hap": "hap", "neu": "neu"}}
    pairs = []
    for trained, other, lacking, left_out in (("a", "b", [], {"dis": 42}), ("b", "a", ["dis"], {})):
        pair = Pair(trained, other, f"{other}-4", str(place / other), FOLDS[trained], list(A), label_map[trained],
                    label_map[other], lacking, left_out, {}, dict.fromkeys(A, len(scored[other]) // 3))
        pairs.append(pair)
        folder = place / "cross" / f"{trained}_on_{other}"
        for system in SYSTEMS:
            for seed in SEEDS:
                for fold in FOLDS[trained]:
                    directory = folder / name_of(system, seed) / fold
                    truth["cross", trained, system, seed, fold] = write_scores(
                        directory, A, scored[other], 0.5 if system == "vgg5_ad" else 0.1, rng, f"{trained}-4", seed)
                    own = read_results(directory / "results.json", FoldResults, "")
                    write_results(directory / "results.json", CrossResults(own.trained, fold, "-4", "x", own.test))
        write_table(folder / REFERENCES, scored[other])
        write_results(folder / PAIR, pair)
    corpora = [Corpus(name, str(place / "exp" / name), str(place / name), f"{name}-4", "loso", FOLDS[name])
               for name in "ab"]
    write_results(place / "cross" / PLAN, CrossPlan(corpora, list(SYSTEMS), list(SEEDS), pairs))
    run("local/results/make_cross.py", place / "cross")
    return place, scored["b"], truth


def wf1(references, rows, classes):
    """scikit-learn's figure in percent of `{utt: probabilities}`."""
    return 100 * f1_score([references[utt] for utt in references],
                          [classes[int(rows[utt].argmax())] for utt in references], average="weighted")


def of_models(place, system):
    """Weighted F1 of every model, `[seeds, folds]`."""
    _, scored, truth = place
    return np.array([[wf1(scored, truth["cross", "a", system, seed, fold], A) for fold in FOLDS["a"]]
                     for seed in SEEDS])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_figure_is_the_mean_over_single_models(place, system):
    folder, scored, truth = place
    row, = (row for row in json.loads((folder / "cross" / "cross.json").read_text())["scores"]
            if row["system"] == system and row["scored_on"] == "b")
    assert row["wf1"] == pytest.approx(of_models(place, system).mean(1))
    assert row["interval"][0] < np.mean(row["wf1"]) < row["interval"][1] and row["interval_speakers"]
    averaged = [wf1(scored, {utt: sum(truth["cross", "a", system, seed, fold][utt] for fold in FOLDS["a"])
                             for utt in scored}, A) for seed in SEEDS]
    assert row["wf1_averaged"] == pytest.approx(averaged) and np.mean(averaged) != pytest.approx(np.mean(row["wf1"]))
    own = []
    for seed in SEEDS:
        rows = {utt: p[[0, 2, 3]] for fold in FOLDS["b"]
                for utt, p in truth["own", "b", system, seed, fold].items()}  # anger, hap, neu
        own.append(wf1(scored, rows, A))
    assert row["own_wf1"] == pytest.approx(own)


def test_the_text_says_what_is_left_out_and_what_guessing_gives(place):
    text = (place[0] / "cross" / "CROSS").read_text()
    assert text.startswith("a-4 (loso), b-4 (loso): models of each scored on the others, seeds 0 1 2\n")
    said = " ".join(text.split())
    assert ("a on b: 126 utterances (ang 42, hap 42, neu 42); a lacks some labels of b, whose utterances are left out: "
            "dis 42. Guessing each class equally often has a WF1 of 33.3, always the most frequent one 16.7.") in said
    assert re.search(r"a on b: AD \w.* vgg5_ad is .* above vgg5_baseline", said)


def test_a_difference_is_clear_only_over_speakers_and_over_seeds(place):
    claim, back = json.loads((place[0] / "cross" / "cross.json").read_text())["claims"]
    better, worse = of_models(place, "vgg5_ad").mean(1), of_models(place, "vgg5_baseline").mean(1)
    comparison = claim["claim"]["comparison"]
    assert comparison["by_seed"] == pytest.approx(better - worse) and comparison["difference"] > 0
    p = ttest_rel(better, worse).pvalue
    assert claim["p_seeds"] == pytest.approx(p)
    assert (claim["trained_on"], claim["scored_on"]) == ("a", "b") and comparison["p_speakers"] <= 0.02
    p_values = [max(each["p_seeds"], each["claim"]["comparison"]["p_speakers"]) for each in (claim, back)]
    holm = {min(p_values): 2 * min(p_values), max(p_values): max(2 * min(p_values), max(p_values))}
    assert claim["claim"]["p_adjusted"] == pytest.approx(min(1, holm[p_values[0]]))


def test_compare_takes_the_directory_of_a_pair(place):
    said = run("local/results/compare.py", *reversed(SYSTEMS), place[0] / "cross" / "a_on_b").stdout
    difference = of_models(place, "vgg5_ad").mean() - of_models(place, "vgg5_baseline").mean()
    assert said.startswith(f"vgg5_ad is {difference:.2f} points of weighted F1 above vgg5_baseline on b-4 by models of "
                           "a (seeds 0 1 2, 126 utterances of 7 speakers): ")
    assert "in 3 of 3 seeds" in said and "The same models score all speakers" in said and "over 3 seeds p = " in said
    one = run("local/results/compare.py", "--seeds", "1", *SYSTEMS, place[0] / "cross" / "a_on_b").stdout
    assert one.endswith("one seed says nothing of it.\n")


def test_the_diagonal_is_the_figure_of_all_classes_and_the_page_shows_it(place):
    folder, _, truth = place
    within = {(row["corpus"], row["system"]): row["wf1"]
              for row in json.loads((folder / "cross" / "cross.json").read_text())["within"]}
    assert len(within) == 4
    rows = {utt: p for fold in FOLDS["b"] for utt, p in truth["own", "b", "vgg5_ad", "1", fold].items()}
    references = {utt: utt.split("-")[1][:-1] for utt in rows}
    assert within["b", "vgg5_ad"][1] == pytest.approx(wf1(references, rows, B))
    page = (folder / "cross" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 1 and "Across corpora" in page
    picture = (folder / "cross" / "cross.svg").read_bytes()
    run("local/results/make_cross.py", folder / "cross")
    assert (folder / "cross" / "cross.svg").read_bytes() == picture


def test_scores_of_other_utterances_are_refused(place, tmp_path):
    shutil.copytree(place[0] / "cross", tmp_path / "cross")
    path = tmp_path / "cross" / "a_on_b" / "utt2emo"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    result = run("local/results/make_cross.py", tmp_path / "cross", check=False)
    line, = result.stderr.splitlines()
    assert result.returncode == 1 and re.search(r"vgg5_baseline/fold_p: is of other labels or utterances than", line)
