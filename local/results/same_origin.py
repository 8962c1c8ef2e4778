"""Only figures of one data set, protocol and content of the data stand together, and those of a system have the same
options."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local.experiment.experiment import Experiment, Setting
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import read_dataset, read_text
from ser.infer.results_file import FoldResults, read_fold_results

Models = Mapping[str, FoldResults]  # results.json by model directory


def require_same_origin(systems: Iterable[Models], data_dir: str | Path) -> None:
    """Refuse to put figures of different origin together.

    Parameters
    ----------
    systems : iterable of dict of str to FoldResults
        The models of all folds and seeds, of each system.
    data_dir : str or Path
        Says which data set and protocol the figures are reported of.

    Raises
    ------
    UserError
        Two models differ in data set, protocol or stamp of the data, two of one system in options, precision or data
        of the pre-training, or two of one seed in the pre-trained model, and the first two are named; or data set or
        protocol are not those of data_dir.
    """
    systems = list(systems)
    _require_same({directory: _of_the_data(results) for models in systems for directory, results in models.items()})
    for models in systems:
        _require_same({directory: _of_the_system(results) for directory, results in models.items()})
        for seed in dict.fromkeys(results.trained.seed for results in models.values()):
            _require_same({directory: _of_the_seed(results) for directory, results in models.items()
                           if results.trained.seed == seed})
    directory, results = next(iter(systems[0].items()))
    now = {"dataset": read_dataset(data_dir), "protocol": read_text(Path(data_dir, "folds", "protocol")).strip()}
    for key, value in now.items():
        was = _of_the_data(results)[key]
        if was != value:
            raise UserError(f"{directory}: was made with {key} {was}, {data_dir} has {value}; name the data that it "
                            "was trained on, or train it again (run.sh: stage 5)")


def require_one_origin(experiment: Experiment) -> None:
    """The same of all systems, folds and seeds of an experiment; raises UserError."""
    require_same_origin(_models_of(experiment).values(), experiment.data)


def checked_setting(experiment: Experiment) -> Setting:
    """The setting of an experiment with the number of extractors, once all is of one origin; raises UserError."""
    models_of = _models_of(experiment)
    require_same_origin(models_of.values(), experiment.data)
    starts = {system: [results.trained.pretraining for results in models.values() if results.trained.pretraining]
              for system, models in models_of.items()}
    return Setting(experiment.dataset, experiment.protocol, experiment.folds, experiment.seeds,
                   extractors={system: len({start["identity"] for start in each}) for system, each in starts.items()
                               if each},
                   pretrained_on=sorted({f"{start['dataset']}, {counted(start['num_speakers'], 'speaker')}"
                                         for each in starts.values() for start in each}))


def _models_of(experiment: Experiment) -> dict[str, Models]:
    """The models of each system by its name."""
    return {system.name: {directory: read_fold_results(directory, experiment.data)
                          for directory in experiment.models(system).values()} for system in experiment.systems}


def _of_the_data(results: FoldResults) -> dict[str, Any]:
    """What all models of a table have in common, by the word of a message."""
    return {"dataset": results.trained.dataset, "protocol": results.trained.protocol,
            "stamp of the data": results.data_stamp}


def _of_the_system(results: FoldResults) -> dict[str, Any]:
    """What folds and seeds of a system have in common."""
    return {"options or precision": results.trained.options_digest,
            "data of the pre-training": results.trained.pretraining.get("data_stamp"),
            "functionals": results.trained.options.get("functionals")}


def _of_the_seed(results: FoldResults) -> dict[str, Any]:
    """What the folds of a seed have in common."""
    return {"pre-training": results.trained.pretraining.get("identity")}


def _require_same(origins: Mapping[str, Mapping[str, Any]]) -> None:
    first, *others = origins
    for other in others:
        for key, value in origins[first].items():
            if origins[other][key] != value:
                raise UserError(f"{first} and {other}: differ in {key} ({_short(value)} and "
                                f"{_short(origins[other][key])}), so their figures do not belong together; train the "
                                "one that is not of this experiment again (steps/finetune.py, run.sh: stage 5)")


def _short(value: Any) -> str:
    """A value; of a checksum its beginning."""
    return str(value)[:40] if len(str(value)) != 64 else str(value)[:12]
