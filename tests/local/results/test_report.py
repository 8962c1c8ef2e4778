"""local/results/make_report.py: what is in the page, and how a browser shows it."""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from test_compare import CLASSES, write_data, write_run

import options
from local.experiment.experiment import Setting
from local.results import make_ablations, make_claims, make_report, make_results, make_wf1, report_data
from local.results.blocks import as_text
from local.results.make_probes import LABELS, TARGETS, ProbesTable, Reading, SpaceRow, Verdict, blocks_of
from ser.infer.results_file import Choices, PretrainResults, write_results
from ser.model_dir.checkpoint import save_config
from ser.model_dir.data_stamp import stamp_data

SYSTEMS = ("vgg5_baseline", "vgg5_ad", "vgg5_ad_se")
NASTY = 'a<b>&"c'
VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """A page as its elements, its visible text, and the tables as rows of cells."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.tables, self.text, self.doctype = [], [], [], "", None
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_decl(self, decl):
        self.doctype = decl

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if "style" not in self.open:
            self.text += data

    def table(self, *heading):
        """The rows below a heading; its further columns are not asked for."""
        return next(table[1:] for table in self.tables if table[0][:len(heading)] == list(heading))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def picture(path, size=(7, 3)):
    figure = Figure(figsize=size)
    figure.subplots().plot([1, 3, 2])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def complete(data, exp, fold, config):
    """Make the config.json of a model as steps/finetune.py writes it."""
    config["data"] = dataclasses.asdict(stamp_data(data, f"folds/{fold}", "none"))
    config["options"] |= {"fold": fold, "note": NASTY}
    config["features"] = {"fbank.conf": "--num-mel-bins=41\n", "vad.conf": "--mode=2  # 0 to 3\n"}
    config["environment"] = {"torch": "2.13.0", "device": "cpu x 1" if fold == "fold_s0" else "NVIDIA H100",
                             "precision": "fp32", "commit": "04f0a02"}
    return config


def write_probes(folder, folds):
    """PROBES and its data, of one system with one space."""
    row = SpaceRow("vgg5_ad", "after", "F+", "network", {target: [60.0, 63.0] for target in TARGETS},
                   {label: [0.1, 0.2] for label in LABELS})
    readings = {target: Reading(61.5, 60.0, None) for target in TARGETS}
    table = ProbesTable(Setting("synthetic-tests-4", "loso", folds, ["7"]), dict.fromkeys(TARGETS, 25.0), [row],
                        [Verdict("vgg5_ad", readings)])
    write_results(folder / "probes.json", table)
    (folder / "PROBES").write_text(as_text(table.setting, blocks_of(table)))


def call(script, data, exp, systems=SYSTEMS):
    """Run a script on some systems in this process; returns its status."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exit_of:
        patch.setattr(sys, "argv", [script.__name__, "--systems", " ".join(systems), str(data), str(exp)])
        options.run(script.main)
    return exit_of.value.code or 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A data directory of six speakers with a class whose name is no HTML, and an experiment with all that is shown."""
    place = tmp_path_factory.mktemp("a report")
    data, exp = place / "data", place / "exp"
    utt2spk = write_data(data, "synthetic-tests-4")
    labels = dict(zip(CLASSES, (NASTY, *CLASSES[1:]), strict=True))
    (data / "utt2emo").write_text("".join(f"{utt} {labels[CLASSES[number % 4]]}\n"
                                          for number, utt in enumerate(utt2spk)))
    (data / "utt2dur").write_text("".join(f"{utt} 2.0\n" for utt in utt2spk))
    folds = sorted({f"fold_{speaker}" for speaker in utt2spk.values()})
    for number, fold in enumerate(folds):
        (data / "folds" / fold).mkdir()
        parts = {"test": folds[number], "valid": folds[(number + 1) % 6]}
        for part in ("train", "valid", "test"):
            utts = [utt for utt, speaker in utt2spk.items()
                    if (f"fold_{speaker}" == parts.get(part)) or (part == "train" and
                                                                  f"fold_{speaker}" not in parts.values())]
            (data / "folds" / fold / part).write_text("".join(f"{utt}\n" for utt in utts))
    for system, accuracy in zip(SYSTEMS, (0.5, 0.7, 0.6), strict=True):
        write_run(exp / system, data, utt2spk, accuracy, 0, "synthetic-tests-4")
        for fold in folds:
            path = exp / system / fold / "config.json"
            path.write_text(json.dumps(complete(data, exp, fold, json.loads(path.read_text()))))
    for script in (make_results, make_claims, make_wf1):
        call(script, data, exp)
    call(make_ablations, data, exp, SYSTEMS[2:])
    (exp / "commands").write_text(f"2026-11-24T05:00:00+00:00\t./run.sh --ser-data '{NASTY}' --seeds 0\n")
    write_probes(exp / "analysis", folds)
    for name, size in (("figure1", (10, 10.4)), ("confusions", (7, 3)), ("speakers", (7, 3)), ("curves", (2, 2))):
        picture(exp / "analysis" / f"{name}.png", size)
    picture(exp / "vgg5_ad" / "fold_s0" / "analysis" / "masks.png")
    return data, exp


@pytest.fixture
def report(capsys):
    """Run make_report.py: status, the text of the page, and its error message."""
    def made(data, exp):
        status, page = call(make_report, data, exp), exp / "report.html"
        return status, page.read_text() if page.is_file() else "", capsys.readouterr().err

    return made


@pytest.fixture
def copy(finished, tmp_path):
    """The finished experiment, to be changed."""
    for path, name in zip(finished, ("data", "exp"), strict=True):
        shutil.copytree(path, tmp_path / name, ignore=shutil.ignore_patterns("report.html"))
    return tmp_path / "data", tmp_path / "exp"


@pytest.mark.parametrize("file", ["CLAIMS", "RESULTS", "ABLATIONS", "analysis/PROBES"])
def test_the_page_and_the_text_say_the_same(file, finished, report):
    """Every line of a text file is in the page: a row of a table by its cells, all else by its words."""
    data, exp = finished
    status, text, _ = report(data, exp)
    assert status == 0
    page = Page(text)
    rows = [" ".join(" ".join(row).split()) for table in page.tables for row in table]
    words = " ".join(page.text.split())
    lines = (exp / file).read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line and not line.strip("- ")]
    assert rules or file == "CLAIMS"
    for number, line in enumerate(lines):
        if any(line and lines[rule - 1 : number + 1].count("") == 0 and number >= rule - 1 for rule in rules):
            assert number in rules or " ".join(line.split()) in rows, line
        else:
            for part in re.split(" {2,}", line.strip("* ")):
                assert part in words, line


def test_figures_warnings_and_verdicts(finished, report):
    page = Page(report(*finished)[1])
    probes = page.table("system", "moment")
    assert probes[0][3:6] == ["25.00"] * 3
    assert probes[1] == ["vgg5_ad", "after", "F+", *["61.50 ± 2.12"] * 3, *["0.15 ± 0.07"] * 2]
    assert "vgg5_ad, after fine-tuning: NOT DISENTANGLED: emotion reads about as well from F+ as from F- (" in page.text
    assert "synthetic-tests-4, loso, 6 folds, seed 7" in page.text  # of the probes, as their data say
    assert page.text.count("SYNTHETIC") == 1 and "banner" in [
        attributes.get("class") for attributes in page.all("p")]


def test_it_begins_with_the_answer_and_its_picture(finished, report):
    data, exp = finished
    text = report(data, exp)[1]
    header = text.partition("</header>")[0]
    claims = json.loads((exp / "claims.json").read_text())["claims"]
    answers = [html.unescape(item) for item in re.findall("<li>(.*?)</li>", header)]
    assert [claim["question"] for claim in claims] == ["AD", "--attention=se"]
    for claim, answer in zip(claims, answers[:2], strict=True):
        result = claim["comparison"]
        low, high = result["interval_speakers"]
        assert answer.startswith(f"{claim['question']} ") and answer.endswith(
            f": {result['difference']:+.2f} points of weighted F1, 95 % interval {low:.2f} to {high:.2f}, "
            f"adjusted p = {claim['p_adjusted']:.3f}.")
    order = [header.index(part) for part in ("<h1>", 'class="banner"', answers[0], "Each comparison in full",
                                             "image/svg+xml")]
    assert order == sorted(order)
    assert "<table" not in header and text.index("<nav") > text.index("</header>")
    assert [attributes.get("open") for attributes in Page(header + "</header></div></body></html>").all("details")] == [
        None]


def test_the_tables_of_the_probes_are_folded(finished, report):
    text = report(*finished)[1]
    section = text.partition('<section id="probes">')[2].partition("</section>")[0]
    before, *folded = section.split("<details>")
    assert "vgg5_ad, after fine-tuning: NOT DISENTANGLED" in before and "<table" not in before
    assert [re.search("<summary>(.*?)</summary>", each)[1] for each in folded] == [
        "Pooling &#39;network&#39;", "Pooling &#39;mean+std&#39;", "What is measured, and how"]
    assert "<table" in folded[0] and "A probe is a linear classifier" in folded[2]


def test_the_page_is_made_of_the_data_and_not_of_the_text(finished, copy, report):
    data, exp = copy
    for name in ("ABLATIONS", "CLAIMS", "analysis/PROBES"):
        (exp / name).unlink()
    (exp / "RESULTS").write_text("nothing\n")
    of_copy, of_whole = Page(report(data, exp)[1]), Page(report(*finished)[1])
    sums = of_whole.table("file", "sha256"), of_copy.table("file", "sha256")
    changed = [one for one in of_copy.tables if one not in of_whole.tables]
    assert sums[0] != sums[1] and len(of_copy.tables) == len(of_whole.tables)
    assert all("sha256" in table[0] or "made with" in table[0] for table in changed)


def test_how_it_was_made_and_from_which_data(finished, report):
    data, exp = finished
    page = Page(report(data, exp)[1])
    assert re.search(re.escape(f"2026-11-24T05:00:00+00:00./run.sh --ser-data '{NASTY}' --seeds 0\n"), page.text)
    systems = page.table("system", "backbone", "method", "made with")
    assert ["vgg5_ad", "VGG5", "AD", "steps/finetune.py --backbone=vgg5 --ad-after=last"] in systems
    assert [row[0] for row in systems] == list(SYSTEMS)
    assert ["note", NASTY] in page.table("option", "value") and "--num-mel-bins=41" in page.text
    assert [row[:3] for row in page.table("models", "commit", "device")] == [["15", "04f0a02", "NVIDIA H100"],
                                                                            ["3", "04f0a02", "cpu x 1"]]
    packages = dict(page.table("package", "version"))
    assert packages["torch"].startswith("2.") and "jinja2" in packages
    assert "180 utterances of 6 speakers, 0.10 hours" in page.text
    counts = page.table("speaker", NASTY, *CLASSES[1:], "all")
    assert counts[0] == ["s0", "8", "8", "7", "7", "30"] and counts[-1] == ["all", "45", "45", "45", "45", "180"]
    assert page.table("fold", "train")[0] == ["fold_s0", "120", "4 speakers", "30", "s1", "30", "s0"]
    sums = dict(page.table("file", "sha256"))
    for path in (data / "utt2emo", exp / "RESULTS"):
        assert sums[str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()
    stamp = stamp_data(data, "folds/fold_s5", "none")
    assert page.table("fold", "sha256 of the data")[5] == ["fold_s5", stamp.of_data, stamp.lists, "3 of 3"]
    assert "were trained on other data" not in page.text


def test_the_page_needs_nothing_but_itself(finished, report):
    data, exp = finished
    text = report(data, exp)[1]
    page = Page(text)
    assert page.doctype == "DOCTYPE html" and not re.search("https?://|@import|url\\(", text, re.IGNORECASE)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "video", "audio"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "poster", "background", "action"):
            value = attributes.get(name, "data:")
            assert value.startswith("data:") or (tag, value[0]) == ("a", "#"), (tag, value)
    pictures = [base64.b64decode(image["src"].partition("base64,")[2]) for image in page.all("img")]
    files = [exp / "analysis" / "wf1.svg",
             *(exp / "analysis" / f"{name}.png" for name in ("figure1", "confusions", "speakers", "curves")),
             exp / "vgg5_ad" / "fold_s0" / "analysis" / "masks.png"]
    assert pictures == [path.read_bytes() for path in files]
    assert all(image["alt"] and int(image["width"]) > 100 for image in page.all("img"))
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a")} == anchors and len(anchors) >= 8
    assert "Attention masks of vgg5_ad, fold_s0, seed 0" in page.text


def test_the_same_bytes_again(finished, report):
    first = report(*finished)[1]
    assert first and report(*finished)[1] == first


def test_what_is_missing_is_left_out_and_named(finished, copy, report):
    assert "Not in this report" not in report(*finished)[1]
    data, exp = copy
    for path in (exp / "ablations.json", exp / "claims.json", exp / "analysis" / "figure1.png",
                 exp / "vgg5_ad" / "fold_s0" / "analysis" / "masks.png"):
        path.unlink()
    (exp / "commands").write_text("2026-11-24T05:00:00+00:00\t./run.sh\n2026-11-24T06:00:00+00:00\t./run.sh --stage 5 "
                                  "--exp-dir my\\ exp --stop-stage 8 --seeds 0\n")
    page = Page(report(data, exp)[1])
    left_out = " ".join(page.text.split("Left out")[-1].split())
    again = "./run.sh --exp-dir my\\ exp --seeds 0"
    assert left_out == ("Not in this report: claims.json, analysis/figure1.png, attention masks of vgg5_ad. Made with: "
                        f"{again} Not in this report: ablations.json. Made with: {again} --stop-stage 8")
    headings = page.text.split("How it was made")[0]
    assert "Ablations" not in headings and "Figure 1" not in headings and "Attention masks" not in headings
    assert len(page.all("img")) == 4 and "Each comparison in full" not in page.text
    (exp / "commands").unlink()
    page = Page(report(data, exp)[1])
    assert f"{exp}/commands is not there" in page.text
    left_out = " ".join(page.text.split("Left out")[-1].split())
    assert "attention masks of vgg5_ad. Made with: ./run.sh Not in" in left_out
    assert left_out.endswith("./run.sh --stop-stage 8 Give run.sh the other options that the experiment was made with, "
                             "too.")


def test_ablations_of_an_earlier_run_are_not_shown(copy):
    data, exp = copy
    assert call(make_report, data, exp, SYSTEMS[:2]) == 0
    text = (exp / "report.html").read_text()
    assert "p adjusted" not in text and "Not in this report: ablations.json. Made with:" in text


def test_models_of_other_data_are_named(copy, report):
    data, exp = copy
    path = exp / "vgg5_ad" / "fold_s3" / "config.json"
    path.write_text(path.read_text().replace('"labels": "', '"labels": "0'))
    page = Page(report(data, exp)[1])
    assert page.table("fold", "sha256 of the data")[3][3] == "2 of 3"
    assert "Models of fold_s3 were trained on other data" in page.text


AGAIN = f"./run.sh --ser-data '{NASTY}' --seeds 0"


@pytest.mark.parametrize("break_it, message", [
    (lambda exp: (exp / "results.json").unlink(), f"results.json: not there; run {AGAIN}\n"),
    (lambda exp: (exp / "results.json").write_text("{"), f"results.json: not a results file; run {AGAIN}\n"),
    (lambda exp: (exp / "claims.json").write_text('{"format": 2}'),
     f"claims.json: it must have setting, claims; run {AGAIN}\n"),
    (lambda exp: (exp / "analysis" / "probes.json").write_text('{"format": 2}'),
     f"probes.json: it must have setting, chance, rows, verdicts; run {AGAIN}\n"),
    (lambda exp: (exp / "analysis" / "curves.png").write_text("GIF89a"),
     f"curves.png: no PNG picture; make it again with {AGAIN}\n"),
    (lambda exp: (exp / "analysis" / "wf1.svg").write_text("<svg/>"), "wf1.svg: no SVG picture; make it again with"),
    (lambda exp: (exp / "analysis" / "wf1.svg").write_text("<svg"), "wf1.svg: no SVG picture; make it again with"),
    (lambda exp: (exp / "vgg5_ad" / "fold_s0" / "config.json").unlink(), "config.json: no such file"),
])
def test_errors_name_the_file_and_leave_no_page(copy, report, break_it, message):
    data, exp = copy
    break_it(exp)
    status, page, said = report(data, exp)
    assert status == 1 and not page and said.count("\n") == 1 and message in said


MEASURE = """<!DOCTYPE html><link rel="icon" href="data:,"><pre id="out"></pre><script>
const widths = [1280, 390];
Promise.all(widths.map(width => new Promise(done => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement, view = frame.contentWindow;
    const sizes = [...page.querySelectorAll("p, td, th, li, dd, dt, a, figcaption, pre, summary")]
      .filter(element => element.getClientRects().length)
      .map(element => parseFloat(view.getComputedStyle(element).fontSize));
    done({width: view.innerWidth, scroll: root.scrollWidth, sizes: [Math.min(...sizes), Math.max(...sizes)],
      images: [...page.images].map(image => [image.naturalWidth, image.getBoundingClientRect().width]),
      scores: [...page.querySelectorAll("#results thead th")].find(cell => cell.textContent == "WF1 pooled")
        ?.getBoundingClientRect().right,
      figures: view.getComputedStyle(page.querySelector("td")).fontVariantNumeric,
      boxes: [...page.querySelectorAll(".scroll")].map(box => [box.clientWidth, box.scrollWidth]),
      outside: [...page.querySelectorAll("body *")].filter(element => !element.closest(".scroll, pre")
        && element.getBoundingClientRect().right > width + 0.5).map(element => element.outerHTML.slice(0, 80))});
  };
  frame.src = "report.html";
  document.body.append(frame);
}))).then(found => { document.getElementById("out").textContent = JSON.stringify(found); });
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_GET(self):
        self.server.requested.append(self.path)
        super().do_GET()


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine: its address, and the paths that were asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        server.requested = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requested
        finally:
            server.shutdown()
            thread.join()


def look(folder, profile):
    """What a browser says of report.html in a folder at two widths, and the paths that it asked for."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed: tests/install_packages.sh as root installs it, where it can")
    (folder / "measure.html").write_text(MEASURE)
    with served(folder) as (address, requested):
        result = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={profile}", "--window-size=1400,1000", "--timeout=20000", "--dump-dom",
             f"{address}/measure.html"], capture_output=True, text=True, timeout=60)
    found = re.search(r'<pre id="out">(\[.*\])</pre>', result.stdout, re.DOTALL)
    assert found, result.stdout[-2000:] + result.stderr[-2000:]
    return json.loads(html.unescape(found[1])), requested


def test_a_browser_shows_it_on_a_laptop_and_on_a_telephone(copy, report, tmp_path):
    data, exp = copy
    report(data, exp)
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(exp / "report.html", folder)
    (laptop, telephone), requested = look(folder, tmp_path / "profile")
    assert set(requested) == {"/measure.html", "/report.html"}
    for view, width in ((laptop, 1280), (telephone, 390)):
        assert view["width"] == width and view["scroll"] <= width and view["outside"] == []
        assert len(view["images"]) == 6 and all(natural > 0 for natural, _ in view["images"])
        assert view["sizes"][0] >= 13 and view["sizes"][1] <= 20
        assert "tabular-nums" in view["figures"]
    assert any(inside > box for box, inside in telephone["boxes"])  # wide tables scroll in their own box
    assert 600 < laptop["images"][2][1] <= 960 and telephone["images"][2][1] > 500  # text of figures can be read
    assert 320 < telephone["images"][0][1] <= 390 < laptop["images"][0][1]  # the answer's is drawn for a telephone
    assert telephone["scores"] <= 390 < laptop["width"]  # the first figures of the table without scrolling sideways


def test_the_browser_sees_what_would_be_wrong(tmp_path):
    wrong = ('<p style="font-size: 9px">small</p><nav></nav><table><tr><td>1</td></tr></table>'
             '<div style="width: 900px">wide</div><img src="elsewhere.png">')
    (tmp_path / "report.html").write_text(f'<!DOCTYPE html><meta name="viewport" content="width=device-width">{wrong}')
    (laptop, telephone), requested = look(tmp_path, tmp_path / "profile")
    assert "/elsewhere.png" in requested and telephone["scroll"] > 390 and laptop["scroll"] <= 1280
    assert telephone["outside"] and telephone["sizes"][0] == 9 and telephone["images"][0][0] == 0
    assert telephone["figures"] == "normal"


def test_what_is_known_of_the_pretrained_models(tmp_path):
    """Two that are as they were, one of another version, one that was made again, and one that is gone."""
    trained = Choices("vox", "identification", 0, "", {"epochs": 2}, {}, 41, False, "fp32", "cpu", "3f9c2a")
    for name, eer in (("plain", 5.25), ("no_rate", None), ("changed", 7.0)):
        write_results(tmp_path / name / "results.json",
                      PretrainResults(trained, "stamp", 87.5, 40, 9, eer, 780 if eer else 0))
        save_config(tmp_path / name, {}, identity=f"identity of {name}")
    starts = {"plain": 3, "no_rate": 1, "changed": 1, "gone": 1}
    configs = {f"{name}{number}": {"options": {"pretrained_dir": f"{tmp_path}/{name}"}, "pretraining": {
        "dataset": "vox", "num_speakers": 9, "identity": f"identity of {name}".replace("changed", "what it was")}}
        for name, count in starts.items() for number in range(count)}
    block, = report_data.pretraining_blocks({**configs, "random": {"options": {"pretrained_dir": None}}})
    said = {row[0].rpartition("/")[2]: row[-2:] for row in block.content[1:]}
    assert said == {"plain": ["IDACC 87.50, EER 5.25 over 780 trials", "3 of 7"],
                    "no_rate": ["IDACC 87.50, EER none", "1 of 7"], "changed": ["another model by now", "1 of 7"],
                    "gone": ["not there", "1 of 7"]}
