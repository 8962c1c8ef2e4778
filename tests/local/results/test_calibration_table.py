"""CALIBRATION and reliability.png: the folds' probabilities together, against per_utt and scikit-learn."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import log_loss
from test_compare import write_data, write_run

from conftest import run
from local.results.make_calibration import CalibrationTable
from local.results.pictures import read_picture
from ser.data.data_dir import read_table
from ser.infer.results_file import FoldResults, read_results, write_results
from ser.model_dir.calibration import write_temperature
from ser.stats.calibration import reliability


@pytest.fixture
def scored(tmp_path):
    """Two systems and seeds on six folds, and the probabilities and references of each `{(system, seed): …}`."""
    data, exp, rng = tmp_path / "data", tmp_path / "exp", np.random.default_rng(0)
    utt2spk = write_data(data, "synthetic-tests-4")
    said = {}
    for system in ("vgg5_ad", "majority"):
        for seed in (0, 1):
            directory = exp / (f"{system}_seed{seed}" if seed else system)
            write_run(directory, data, utt2spk, 0.6, seed, "synthetic-tests-4")
            parts = []
            for number, fold in enumerate(sorted(directory.glob("fold_*"))):
                results = read_results(fold / "results.json", FoldResults, "-")
                labels = [line.split()[0] for line in read_table(fold / "score" / "per_utt").values()]
                references = np.array([results.test.classes.index(label) for label in labels])
                before, after = rng.dirichlet(np.ones(4), len(labels)), rng.dirichlet(np.ones(4), len(labels))
                network = system == "vgg5_ad"
                write_results(fold / "results.json", dataclasses.replace(
                    results, reliability=reliability(after, references),
                    reliability_uncalibrated=reliability(before, references) if network else None))
                if network:
                    write_temperature(fold, 2.0**number)
                parts.append((references, before, after))
            said[system, seed] = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return data, exp, said


def calibrate(data, exp):
    return run("local/results/make_calibration.py", "--systems", "vgg5_ad majority", "--seeds", "0 1", data, exp)


def test_all_folds_together(scored):
    data, exp, said = scored
    calibrate(data, exp)
    table = read_results(exp / "analysis" / "calibration.json", CalibrationTable, "-")
    assert [row.system for row in table.systems] == ["vgg5_ad", "majority"]
    for row in table.systems:
        for seed in (0, 1):
            references, before, after = said[row.system, seed]
            assert row.reliability[seed].ece == pytest.approx(reliability(after, references).ece)
            assert row.reliability[seed].nll == pytest.approx(log_loss(references, after, labels=range(4)))
            if row.system == "vgg5_ad":
                assert row.before[seed].nll == pytest.approx(log_loss(references, before, labels=range(4)))
    network, other = table.systems
    assert network.temperature == pytest.approx([2**2.5] * 2) and other.before == other.temperature == []
    text = (exp / "analysis" / "CALIBRATION").read_text()
    ece = [each.ece for each in other.reliability]
    nll = [each.nll for each in other.reliability]
    line = next(line for line in text.splitlines() if line.startswith("majority"))
    assert line.split() == ["majority", f"{np.mean(ece):.2f}", "±", f"{np.std(ece, ddof=1):.2f}", "-",
                            f"{np.mean(nll):.2f}", "±", f"{np.std(nll, ddof=1):.2f}", "-", "-"]
    assert "SYNTHETIC" in text
    wide, narrow = (read_picture(exp / "analysis" / f"reliability.{kind}", "-") for kind in ("png", "svg"))
    assert narrow.width < 380 < wide.width and wide.narrow == narrow  # of a telephone's screen


def test_the_same_bytes_again(scored):
    data, exp, _ = scored
    calibrate(data, exp)
    files = {path: path.read_bytes() for path in (exp / "analysis").iterdir()}
    calibrate(data, exp)
    assert files == {path: path.read_bytes() for path in (exp / "analysis").iterdir()} and len(files) == 4


def test_folds_of_a_version_before_are_left_out_with_a_reason(scored):
    data, exp, _ = scored
    calibrate(data, exp)
    path = exp / "vgg5_ad" / "fold_s2" / "results.json"
    results = json.loads(path.read_text())
    results["reliability"] = results["reliability_uncalibrated"] = None
    path.write_text(json.dumps(results))
    result = calibrate(data, exp)
    assert "no calibration.json and reliability.png: vgg5_ad: a version of the recipe before" in result.stdout
    assert "steps/score.py" in (exp / "analysis" / "reliability.left_out").read_text()
    assert {path.suffix for path in (exp / "analysis").iterdir()} == {".left_out"}
