"""The page: whole, self-contained, accessible, and proof against hostile text."""

import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scored_runs import scored_run

from xmodctl.reports.formats import html
from xmodctl.reports.formats.html import render
from xmodctl.reports.gathering import gather
from xmodctl.run.run import Run

HOSTILE = (
    "<script>document.title = 'owned'</script><img src=x onerror=alert(1)> & </dd></table>",
    "zero\u200bwidth \u202eevil\u0007 bell \u200fmark",
    "x" * 900,
    "👩\u200d👩\u200d👧 می\u200cخواهم",
    "Z\u0338\u0328\u031b\u035aa\u0337l\u0335go " * 20,
    "line\nbreak\ttab 'single' \"double\" {{ 7 * 7 }}",
)
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Reads a page strictly: every element that opens must close where it should."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  # (element, text)
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag, (opened, tag, self.getpos())

    def handle_data(self, data):
        self.texts.append((self.open[-1][0] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]

    @property
    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("style", "title"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("pages")
    first = scored_run(
        folder, "one", qualities={"en": 0.9, "de": 0.3, "ar": 0.2, "sw": 0.5, "jv": 0.4}, seeds=(1, 2, 3),
        controls=("source", "none"), donors={"jv": ("sw_KE", "zh_CN")}, texts=HOSTILE,
    )  # fmt: skip
    two = scored_run(folder, "two <script>alert(1)<", qualities={"en": 0.9, "de": 0.6, "ar": 0.5}, seeds=(1,))
    return first, two


@pytest.fixture(scope="module")
def pages(runs) -> dict[str, str]:
    first, two = runs
    return {
        "one": render(gather([first.folder], mistakes=100)),
        "two": render(gather([two.folder])),
        "both": render(gather([first.folder, two.folder])),
    }


@pytest.mark.parametrize("name", ["one", "two", "both"])
def test_a_page_is_well_formed_and_its_links_and_names_fit(name, pages):
    page = Page(pages[name])
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(ids)
    named = [element["aria-labelledby"] for _, element in page.seen if "aria-labelledby" in element]
    assert set(named) <= set(ids)


@pytest.mark.parametrize("name", ["one", "two", "both"])
def test_a_page_asks_for_nothing_and_runs_nothing(name, pages):
    page = Page(pages[name])
    assert not page.all("script")
    assert not page.all("img")
    assert not [key for _, attributes in page.seen for key in attributes if key.startswith("on")]
    assert {element["href"] for element in page.all("link")} == {"data:,"}
    assert not [element for _, element in page.seen if "src" in element or "xlink:href" in element]
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in str(page.all("meta"))


@pytest.mark.parametrize("name", ["one", "two", "both"])
def test_tables_can_be_read_aloud(name, pages):
    page = Page(pages[name])
    tables = page.all("table")
    assert tables
    assert len(page.all("caption")) == len(tables)
    assert all(cell.get("scope") for cell in page.all("th"))
    regions = [region for _, region in page.seen if region.get("role") == "region"]
    assert len(regions) == len(tables)
    assert all(region["aria-label"] and region["tabindex"] == "0" for region in regions)
    assert all(region["aria-label"] for _, region in page.seen if region.get("role") == "img")


def test_hostile_text_is_text(pages):
    page = Page(pages["one"])
    predicted = page.text
    assert HOSTILE[0] in predicted
    assert HOSTILE[5] in predicted  # templates are not run twice
    assert "zeroU+200Bwidth U+202EevilU+0007 bell U+200Fmark" in predicted
    assert HOSTILE[3] in predicted  # joiners that shape letters and emoji are left alone
    assert HOSTILE[2] in predicted
    assert not set("\u200b\u202e\u0007\u200f\ufeff") & set(pages["one"])
    names = Page(pages["both"]).text
    assert "alert(1)<" in names


def test_texts_have_their_language_and_find_their_direction(pages):
    texts = [text for text in Page(pages["one"]).all("dd") if "lang" in text]
    assert texts
    assert all(text["dir"] == "auto" for text in texts)
    assert {text["lang"] for text in texts} == {"en", "de", "ar", "sw", "jv"}


def test_half_a_character_in_a_name_does_not_stop_the_page(runs, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(runs[1].folder, folder)
    value = json.loads((folder / "run.json").read_text())
    value["plan"]["data"] = "half \ud800 of it"
    (folder / "run.json").write_text(json.dumps(value))
    page = render(gather([folder]))
    page.encode()
    assert "U+D800" in page


def test_every_part_is_there_when_the_rows_are(pages, runs):
    first, two = Page(pages["one"]), Page(pages["two"])
    ids = {attributes.get("id") for _, attributes in first.seen}
    assert {"scores", "gaps", "groups", "controls", "donors", "errors", "training", "plan", "reading"} <= ids
    absent = {attributes.get("id") for _, attributes in two.seen}
    assert not {"controls", "donors"} & absent
    assert "through id_ID" in first.text
    assert "learning_rate" in first.text
    assert "wrong with" in first.text
    assert runs[0].versions["numpy"] in first.text
    assert len(re.findall('class="c[0-9]"', pages["one"])) >= 3  # bars and curves
    lanes = len([first for first in first.all("svg") if first.get("class") == "strip"])
    assert lanes == 5 + 3 + 4 + 5  # scores, means, gaps, controls


def labels(page: str, chart: str) -> list[str]:
    """Return the labels of a chart's rows, from the top, without what is below them."""
    start = page.index(f'<h2 id="{chart}">')
    return re.findall(r'<div class="label">([^<]+?) ?<', page[start : page.index("</figure>", start)])


def test_the_chart_begins_with_the_best_language_and_ends_with_the_means(pages, runs):
    study = gather([runs[0].folder])
    means = [score.mean for language in study.by_score if (score := study.runs[0].score(language.code))]
    assert means == sorted(means, reverse=True)
    shown = labels(pages["one"], "scores")
    assert shown[:5] == [language.name for language in study.by_score]
    assert shown[0] == "English"
    assert shown[-3:] == ["mean, all", "mean, no source", "mean, own adapter"]
    assert 'English <span class="tag">Indo-European</span>' in pages["one"]


def test_a_majority_baseline_of_all_languages_is_one_labelled_line(pages):
    assert pages["one"].count(">majority baseline 35.0</text>") == 1
    start = pages["one"].index('<h2 id="scores">')
    figure = pages["one"][start : pages["one"].index("</figure>", start)]
    strips = figure.count('<svg class="strip"')
    assert figure.count('class="baseline"') == strips == 8
    assert figure.count('y2="100%" class="baseline"') == strips


def test_majority_baselines_that_differ_stay_strokes_of_their_languages(tmp_path):
    run = scored_run(tmp_path, kind="question-answering")
    study = gather([run.folder])
    page = render(study)
    assert study.table.common_baseline is None
    assert ">majority baseline " not in page
    assert 'y2="100%" class="baseline"' not in page
    assert page.count('class="baseline"') == 3


def test_the_kept_step_is_marked_and_named(pages, runs):
    steps = {row.seed: row.step for row in gather([runs[0].folder]).runs[0].rows}
    assert f"seed 1, step {steps[1]}; seed 2, step {steps[2]}; seed 3, step {steps[3]}." in pages["one"]
    assert len(re.findall('class="kept c[0-9]"', pages["one"])) == 2 * 3  # losses and validation scores


def test_the_plan_shows_what_was_chosen_and_folds_what_is_at_its_default(pages):
    page = pages["one"]
    plan = page[page.index('<h2 id="plan">') : page.index("<h3>How scores were measured</h3>")]
    chosen, *folded = plan.split("<details>")
    task, defaults = folded
    keys = [re.findall(r'<th scope="row">(\S+?)</th>', part) for part in (chosen, task, defaults)]
    assert {"task.name", "recipe.learning_rate", "recipe.keep", "model", "source_languages", "precision"} <= set(
        keys[0]
    )
    assert {"task.columns.text", "task.languages.en"} <= set(keys[1])
    assert {"recipe.adam_beta1", "recipe.dropout", "task.metric_rules", "limit"} <= set(keys[2])
    assert not set(keys[0]) & set(keys[1])
    assert not set(keys[2]) & {*keys[0], *keys[1]}


def test_values_that_differ_between_plans_are_marked(runs, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(runs[1].folder, folder)
    value = json.loads((folder / "run.json").read_text())
    value["plan"]["recipe"]["epochs"] = 7.5
    (folder / "run.json").write_text(json.dumps(value))
    page = render(gather([runs[1].folder, folder]))
    assert re.findall(r'<tr class="differs"><th scope="row">(\S+)', page) == ["recipe.epochs"]


def test_a_limited_report_is_marked_at_its_head(tmp_path):
    page = render(gather([scored_run(tmp_path, seeds=(1,), limited=6).folder]))
    assert "LIMITED to 6 rows per language" in page[: page.index("</header>")]


@pytest.mark.parametrize("control", ["source", "none"])
def test_a_single_control_is_shown(control, tmp_path):
    page = Page(render(gather([scored_run(tmp_path, controls=(control,), seeds=(1,)).folder])))
    assert "controls" in {attributes.get("id") for _, attributes in page.seen}


@pytest.mark.parametrize("kind", ["token-classification", "question-answering", "multiple-choice"])
def test_every_kind_has_a_page(kind, tmp_path):
    run = scored_run(tmp_path, kind=kind)
    page = Page(render(gather([run.folder])))
    names = {"token-classification": "PER", "question-answering": "shortest answers", "multiple-choice": "choice 2"}
    assert names[kind] in page.text


def test_a_run_with_no_training_record_and_one_language_has_a_page(tmp_path):
    run = scored_run(tmp_path, qualities={"de": 0.5}, seeds=(1,))
    (run.seed_folder(1) / "metrics.jsonl").unlink()
    page = Page(render(gather([run.folder])))
    assert "metrics.jsonl" in page.text
    assert "in 1 language" in page.text


def luminance(color: str) -> float:
    """Return the relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(color: str, other: str) -> float:
    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_aa_and_marks_can_be_told_from_the_page(scheme):
    style = (Path(html.__file__).parent / "report.css").read_text()
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style.split(":root {")[scheme + 1].split("}")[0]))
    pairs = [("text", "page"), ("text", "raised"), ("text", "warn"), ("text", "hot"), ("quiet", "page")]
    pairs += [("quiet", "raised"), ("link", "page"), ("hidden", "page"), ("link", "warn")]
    for text, ground in pairs:
        assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for number in range(6):
        assert contrast(colors[f"c{number}"], colors["page"]) >= 3, number
    assert contrast(colors["strong-line"], colors["page"]) >= 3


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="needs chromium")
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["one", "both"])
def test_in_a_browser_nothing_is_wider_than_the_page_and_the_console_is_silent(name, width, pages, tmp_path):
    """The page stands in a frame of the width; the frame's parent measures it, with every fold open."""
    page = pages[name].replace("<details>", "<details open>")
    wrapper = tmp_path / "frame.html"
    wrapper.write_text(
        f'<iframe id="frame" width="{width}" height="900" style="border:0" srcdoc="{escape(page)}"></iframe>'
        """<pre id="told"></pre><script>
        frame.onload = () => {
          const page = frame.contentDocument, wide = [];
          for (const one of page.querySelectorAll("main *, header *, nav *")) {
            const box = one.getBoundingClientRect();
            const scrolls = one.closest(".scroll") && !one.matches(".scroll");
            if (!scrolls && !one.closest("svg") && box.right > page.documentElement.clientWidth + 1)
              wide.push(one.outerHTML.slice(0, 80));
          }
          const {scrollWidth: scroll, clientWidth: width} = page.documentElement;
          told.textContent = JSON.stringify({title: page.title, scroll, width, wide})
        }</script>""",
        encoding="utf-8",
    )
    command = [str(BROWSER), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)[1])
    assert figures["title"] == "Pairs, test: accuracy"
    assert figures["wide"] == []
    assert figures["scroll"] == figures["width"]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_rows_of_an_older_version_without_a_metric_are_shown_beside_newer_ones(tmp_path):
    run = scored_run(tmp_path, seeds=(1,))
    lines = [json.loads(line) for line in run.results.read_text().splitlines()]
    name = next(name for name in lines[0]["metrics"] if name != lines[0]["metric"])
    del lines[-1]["metrics"][name]
    run.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = render(gather([run.folder]))
    assert lines[0]["metric"] in page


def test_sentences_begin_with_a_capital_and_keep_those_within(tmp_path):
    page = render(gather([scored_run(tmp_path, kind="token-classification").folder]))
    assert "Entity F1 in percent and its 95% interval" in page
    assert "Entity f1" not in page


def test_regions_of_several_runs_have_names_of_their_own(pages):
    names = [region["aria-label"] for _, region in Page(pages["both"]).seen if region.get("role") == "region"]
    assert len(names) == len(set(names))
