"""The sections of a report that show a file of the experiment, and what is said where a file is not there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local.experiment.experiment import Experiment
from local.experiment.systems import System
from local.results import make_ablations, make_calibration, make_claims, make_probes, make_results
from local.results.blocks import Block, Section
from local.results.pictures import read_picture
from local.results.report_commands import command_for, recorded_command
from ser.analysis.left_out import reason_of
from ser.base.errors import UserError
from ser.infer.results_file import NAME, read_results


@dataclass(frozen=True)
class Source:
    """A file of EXP that a section shows.

    Attributes
    ----------
    heading, file : str
    caption : str
        Of a picture.
    table : tuple of type and callable
        Of a results file: what it holds, and what makes blocks of that.
    folded : bool
        Whether its tables and definitions are shown only when they are asked for.
    stop_stage : str
        What run.sh has to be told beside the options of the experiment.
    """

    heading: str
    file: str
    caption: str = ""
    table: tuple[type, Callable[[Any], list[Block]]] | None = None
    folded: bool = False
    stop_stage: str = ""

    def blocks(self, experiment: Experiment) -> list[Block]:
        """What the section shows; raises UserError for a damaged file."""
        path, command = Path(experiment.exp, self.file), command_for(experiment.exp, self.stop_stage)
        if self.table is None:
            return [Block("picture", [read_picture(path, f"make it again with {command}")], self.caption)]
        kind, blocks_of = self.table
        table: Any = read_results(path, kind, f"run {command}")
        heading = [] if table.setting.heading == experiment.heading else [Block.paragraph(table.setting.heading)]
        return [*heading, *(fold(blocks_of(table)) if self.folded else blocks_of(table))]


ANSWER = (
    Source("Answer", "claims.json", table=(make_claims.ClaimsTable, make_claims.page_blocks_of)),
    Source("Answer", "analysis/wf1.svg", "Weighted F1 of each system on all test utterances, as the mean over the "
           "seeds, which are ticks where there are several. The thick line is a 95 % interval for other utterances of "
           "the same speakers, the thin line for other speakers."),
)
RESULTS = Source("Results", NAME, table=(make_results.ResultsTable, make_results.page_blocks_of))
SOURCES = (
    *ANSWER, RESULTS,
    Source("Ablations", "ablations.json", table=(make_ablations.AblationsTable, make_ablations.blocks_of),
           stop_stage=" --stop-stage 8"),
    Source("Figure 1", "analysis/figure1.png",
           "t-SNE of utterance embeddings; shape and colour are the emotion, the number is the speaker: (a) the "
           "extractor before fine-tuning, (b) fine-tuned with a linear classifier, (c) fine-tuned with AD, F+, "
           "(d) its F-."),
    Source("Probes", "analysis/probes.json", table=(make_probes.ProbesTable, make_probes.blocks_of), folded=True),
    Source("Confusion matrices", "analysis/confusions.png",
           "Emotions taken for others, in percent of the reference class: the test utterances of all folds."),
    Source("Speakers", "analysis/speakers.png", "Weighted F1 of each system on each test speaker, as the mean over "
           "the seeds. A line is the 95 % interval for other utterances of the same speaker."),
    Source("Training curves", "analysis/curves.png",
           "Training loss, and weighted F1 of the validation speakers; of a pre-training the identification accuracy. "
           "Thin lines are single folds and seeds, the thick line is their mean."),
    Source("Calibration", "analysis/calibration.json",
           table=(make_calibration.CalibrationTable, make_calibration.blocks_of)),
    Source("Calibration", "analysis/reliability.png", "How often a system is right when it is so and so sure: the test "
           "utterances of all folds and seeds. On the dashed line a probability is what it says; below it a system is "
           "too sure. The area of a mark is the share of the utterances."),
)


def fold(blocks: list[Block]) -> list[Block]:
    """Hide tables, and what follows the last of them, behind a line that opens them."""
    last = max((number for number, block in enumerate(blocks) if block.kind == "table"), default=-1)
    return [*(Block("details", [replace(block, caption="")], block.caption) if block.kind == "table" else block
              for block in blocks[:last + 1]), Block("details", blocks[last + 1:], "What is measured, and how")]


def sources_there(experiment: Experiment) -> list[Source]:
    """The sources that are there; ablations of an earlier run are not, unless they are among the systems."""
    paths = {source: Path(experiment.exp, source.file) for source in SOURCES}
    asked = any(system.reference for system in experiment.systems)
    return [source for source, path in paths.items()
            if path.is_file() and not reason_of(path) and (asked or source.heading != "Ablations")]


def source_sections(experiment: Experiment) -> list[Section]:
    """Sections of the sources that are there; raises UserError when there are no results."""
    there = sources_there(experiment)
    if RESULTS not in there:
        raise UserError(f"{experiment.exp}/{RESULTS.file}: not there; run {command_for(experiment.exp)}")
    sections: dict[str, list[Block]] = {}
    for source in there:
        sections.setdefault(source.heading, []).extend(source.blocks(experiment))
    return [Section(heading, blocks) for heading, blocks in sections.items()]


def masks_of(experiment: Experiment, system: System) -> dict[tuple[str, str], Path]:
    """`{(seed, fold): path}` of the attention masks of a system that are there."""
    paths = {key: Path(model, "analysis", "masks.png") for key, model in experiment.models(system).items()}
    return {key: path for key, path in paths.items() if path.is_file() and not reason_of(path)}


def mask_sections(experiment: Experiment) -> list[Section]:
    """The attention masks of all models that have them, or no section."""
    pictures = [Block("picture", [read_picture(path, f"make it again with {command_for(experiment.exp)}")],
                      f"Attention masks of {system.name}, {fold}, seed {seed}: above and beside the features the "
                      "mean of the mask along time and along frequency.")
                for system in experiment.systems for (seed, fold), path in masks_of(experiment, system).items()]
    return [Section("Attention masks", pictures)] if pictures else []


def reasons(experiment: Experiment) -> dict[str, str]:
    """`{part: why it could not be made}`, of a source by its file."""
    notes = {source.file: reason_of(Path(experiment.exp, source.file)) for source in SOURCES}
    notes |= {f"attention masks of {system.name}": reason_of(Path(model, "analysis", "masks.png"))
              for system in experiment.systems if system.has_attention
              for model in experiment.models(system).values() if not masks_of(experiment, system)}
    return {part: reason for part, reason in notes.items() if reason}


def missing(experiment: Experiment) -> dict[str, list[str]]:
    """`{command: files that are not there and that it makes}`; without reasons()."""
    there = sources_there(experiment)
    known = reasons(experiment)
    files = [(command_for(experiment.exp, source.stop_stage), source.file) for source in SOURCES
             if source not in there and source.file not in known]
    files += [(command_for(experiment.exp), masks) for system in experiment.systems
              if system.has_attention and not system.reference and not masks_of(experiment, system)
              and (masks := f"attention masks of {system.name}") not in known]
    return {command: [file for other, file in files if other == command] for command, _ in files}


def missing_sections(experiment: Experiment) -> list[Section]:
    """What could not be made and why, and with which command what else is left out is made, or no section."""
    lines = [f"{part}: {reason}" for part, reason in reasons(experiment).items()]
    blocks = [Block("list", lines)] if lines else []
    for command, files in missing(experiment).items():
        blocks += [Block.paragraph(f"Not in this report: {', '.join(files)}. Made with:"),
                   Block("preformatted", [command])]
    if missing(experiment) and not recorded_command(experiment.exp):
        blocks.append(Block.paragraph("Give run.sh the other options that the experiment was made with, too."))
    return [Section("Left out", blocks)] if blocks else []
