"""The pages: their links lead somewhere, what they name is there, and what they quote is what the recipe says."""

import re
import unicodedata
from dataclasses import fields

import pytest

from conftest import ROOT
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.options import EmotionModelConfig

PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
WRITTEN = [page for page in PAGES if page == "README.md" or page.startswith("docs/")]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page):
    """A page without its blocks of commands and output."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def anchors_of(page):
    """The anchors that GitHub makes of a page's headings."""
    anchors = []
    for heading in re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower().replace(" ", "-")
        anchor = "".join(sign for sign in words if sign in "-_" or unicodedata.category(sign)[0] in "LN")
        anchors.append(anchor + (f"-{anchors.count(anchor)}" if anchor in anchors else ""))
    return anchors


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        name, _, anchor = link.partition("#")
        if re.match("[a-z]+:", link):
            continue
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or anchor and anchor not in anchors_of(target.resolve().relative_to(ROOT.resolve())):
            broken.append(link)
    assert broken == []


def test_readme_leads_to_every_page():
    linked = re.findall(r"\]\((docs/[\w.]+)[)#]", text_of("README.md"))
    assert set(linked) >= {page for page in PAGES if page.startswith("docs/")}


@pytest.mark.parametrize("page", WRITTEN)
def test_lines_fit(page):
    assert [line for line in text_of(page).splitlines() if len(line) >= 120] == []


@pytest.mark.parametrize("page", WRITTEN)
def test_what_a_page_names_is_there(page):
    """Scripts and configurations, but for names that stand for several, such as local/NAME_data_prep.py."""
    named = re.findall(r"(?<![\w/.])((?:steps|local|tests|conf|docs)/[\w/.-]+\.(?:py|sh|conf|md|svg))", text_of(page))
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", WRITTEN)
def test_systems_of_a_page_are_known(page):
    known = (ROOT / "conf/systems.conf").read_text() + (ROOT / "conf/ablations.conf").read_text()
    named = re.findall(r"`((?:resnet18|vgg5)_\w+)`", text_of(page))
    assert [name for name in named if not re.search(rf"^{name} ", known, re.MULTILINE)] == []


@pytest.mark.parametrize("page", WRITTEN)
def test_options_of_a_page_are_known(page):
    """Options that run.sh, tests/run.sh, a script, a class or a configuration has; --logdir is tensorboard's."""
    sources = [path.read_text() for folder in ("steps", "local", "conf") for path in (ROOT / folder).rglob("*")
               if path.suffix in (".py", ".sh", ".conf")]
    names = [f"--{name}" for name in re.findall(r"^([a-z]+) ", (ROOT / "conf/corpora.conf").read_text(), re.MULTILINE)]
    sources += [(ROOT / name).read_text() for name in ("run.sh", "tests/run.sh")]
    known = "\n".join([*sources, *names, "--logdir"])
    options = re.findall(r"(?<![\w-])--([a-z][\w-]+)", text_of(page))
    assert [option for option in options
            if not re.search(rf"--{option}\b|^ *{option.replace('-', '_')}(=|: )", known, re.MULTILINE)] == []


def said_by_the_recipe():
    """The text of the scripts, in which parts of a message on several lines are one."""
    sources = [path for folder in ("steps", "local") for path in sorted((ROOT / folder).rglob("*"))
               if path.suffix in (".py", ".sh")]
    text = "\n".join(path.read_text() for path in [*sources, ROOT / "run.sh", ROOT / "path.sh", ROOT / "cmd.sh"])
    return re.sub(r'"\s*\\?\n?\s*f?"', "", text)


def test_messages_are_those_of_the_recipe():
    """Each message of the first columns of docs/troubleshooting.md, in parts where it has an ellipsis."""
    messages = re.findall(r"^\| `([^`]+)` \|", text_of("docs/troubleshooting.md"), re.MULTILINE)
    said = said_by_the_recipe()
    of_python = ["ModuleNotFoundError: No module named 'ser'"]
    unknown = [message for message in messages if message not in of_python
               and not all(part.strip() in said for part in message.split("…"))]
    assert unknown == [] and len(messages) > 50


def test_figures_of_readme_are_those_of_results():
    """Weighted F1 and interval of each system that RESULTS.md has."""
    tables = re.findall(r"^## (RAVDESS|nEMO)$(.*?)(?=^## )", text_of("RESULTS.md"), re.MULTILINE | re.DOTALL)
    shown = {name: cells for name, _, *cells in (
        [cell.strip(" *`") for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^\| `.*\|$", text_of("README.md"), re.MULTILINE)) if len(cells) == 2}
    compared = 0
    for column, (_, table) in enumerate(tables):
        for system, wf1, interval in re.findall(r"^\| (\w+) \| ([\d. ±]+) \| ([\d.-]*) \|", table, re.MULTILINE):
            assert shown[system][column] == (f"{wf1} ({interval})" if interval else wf1)
            compared += 1
    assert compared >= 20


def test_the_result_line_that_is_quoted_has_options_that_there_are():
    line = " ".join(re.search(r"^%WF1 [^`]*", text_of("docs/protocol.md"), re.MULTILINE)[0].split())
    words = re.search("10fold, (.*), bf16 cpu,", line)[1].replace(" 41mel", "").split()
    options = {field.name.replace("_", "-") for kind in (EmotionModelConfig, FinetuneConfig) for field in fields(kind)}
    assert set(words[::2]) - options == set()
