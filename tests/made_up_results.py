"""Scores that no network gave, in the files of a trained fold."""

from sklearn.metrics import confusion_matrix

from ser.infer.results_file import Choices, Counts, FoldResults, write_results


def write_fold(directory, classes, said, dataset="tests-4", seed=0):
    """The scores of one fold `{utterance: (ref, hyp)}` as steps/score.py writes them."""
    (directory / "score").mkdir(parents=True)
    (directory / "score" / "classes").write_text("".join(f"{name}\n" for name in classes))
    probabilities = " ".join([f"{1 / len(classes):.2f}"] * len(classes))
    (directory / "score" / "per_utt").write_text("".join(
        f"{utt} {' '.join(pair)} {probabilities}\n" for utt, pair in said.items()))
    trained = Choices(dataset, "loso", seed, "backbone vgg5 ad-after none 41mel", {"backbone": "vgg5"}, {}, 41, False,
                      "fp32", "cpu", "3f9c2a")
    counts = Counts.of(confusion_matrix(*zip(*said.values(), strict=True), labels=classes), list(classes))
    results = FoldResults(trained, directory.name, "stamp", counts)
    write_results(directory / "results.json", results)
    (directory / "RESULT").write_text("%WF1\n")
