"""report.html in a real browser: it asks for nothing, complains of nothing, stays small, and what files say never becomes part of the page's code."""
import copy
import json
import re
import shutil
import subprocess
import sys

import pytest

from support.browser import PROGRAM, Browser
from support.program import REPO, assert_one_line, read_rows

sys.path.insert(0, str(REPO / "scripts"))
from reporting.build import sections  # noqa: E402
from reporting.page import render  # noqa: E402
from reporting.rows import Findings  # noqa: E402

MOST_BYTES = 3_000_000
HOSTILE = "<img src=http://192.0.2.1/x onerror=alert(1)></script><script>window.broken=1</script>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def results(binary, finished, tmp_path_factory):
    """The finished cells under an experiment's file, a verdict and an axis whose texts attack the page."""
    folder = tmp_path_factory.mktemp("html") / "results"
    shutil.copytree(finished[2], folder)
    experiment = folder.parent / "experiment.yaml"
    experiment.write_text(f"# Does it hold?  {HOSTILE}\n# Expect so.\n#\n# A second paragraph.\nseed: 0\n# no question\n", encoding="utf-8")
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    (folder / "plan.json").write_text(json.dumps(plan | {"file": str(experiment)}), encoding="utf-8")
    verdict = {"claim": HOSTILE, "experiment": "t1", "effect": 0.5, "interval": [0.25, 0.75], "verdict": "reproduced"}
    (folder / "verdicts.json").write_text(json.dumps([verdict, verdict | {"claim": "another", "verdict": "not reproduced", "interval": None}]), encoding="utf-8")
    for row in read_rows(folder).values():
        row["axes"]["data.path"] = HOSTILE
        (folder / "cells" / row["id"] / "row.json").write_text(json.dumps(row), encoding="utf-8")
    return folder


def report(binary, results, *options):
    command = [sys.executable, REPO / "scripts/report.py", results, *options]
    return subprocess.run(command, env={"QROAR_BINARY": str(binary)}, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def page(binary, results):
    process = report(binary, results)
    assert process.returncode == 0, process.stderr
    return results / "report.html"


def page_of(rows, results, folder):
    """The page of rows alone, without differences between them."""
    found = Findings(results, [], rows, rows, [])
    vars(found).update(paired={}, interactions={})
    path = folder / "report.html"
    path.write_text(render(sections(found)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def wide_page(binary, finished, tmp_path_factory):
    """A page of 1,000 rows: the four finished ones again and again, each time with another quantizer."""
    process = subprocess.run([binary, "show", finished[2], "--format", "json"], capture_output=True, text=True, check=True)
    rows = []
    for number in range(250):
        for row in json.loads(process.stdout):
            made = copy.deepcopy(row) | {"id": f"{len(rows):016x}"}
            made["axes"]["quant"] = [{"weight": {"type": "rtn", "bits": 4, "group": number}}]
            made["labels"]["quant"] = f"rtn W4 g{number} symmetric=true zero=plain, rtn A4 per row"
            made["metrics"]["perplexity"]["value"] *= 1 + number / 1000
            rows.append(made)
    return page_of(rows, finished[2], tmp_path_factory.mktemp("wide"))


@pytest.fixture
def browser():
    if PROGRAM is None:
        pytest.skip("needs chromium: scripts/setup --test installs it")
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_page_asks_for_nothing_and_complains_of_nothing(page, browser, width, dark):
    browser.open(page, width, dark)
    assert browser.errors == []
    assert {address for address in browser.requests if not address.startswith("data:")} == {f"file://{page}"}
    assert page.stat().st_size < MOST_BYTES
    assert browser.run("document.documentElement.scrollWidth") == width  # nothing sticks out sideways
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


def test_every_panel_shows_its_points(page, browser):
    browser.open(page)
    counts = browser.run("""[...document.querySelectorAll("figure")].map((figure) => [
        JSON.parse(figure.querySelector("script").textContent).panels.map((panel) => panel.points.length).reduce((a, b) => a + b),
        figure.querySelectorAll(".mark-symbol path").length])""")
    assert len(counts) >= 2 and all(points == drawn > 0 for points, drawn in counts)
    # Differences come first, of what has a baseline.
    assert browser.run('document.querySelector("figure h3").textContent') == "What interpolation changes"


def test_a_page_of_labels_beside_values_complains_of_nothing(binary, finished, browser, tmp_path):
    shown = subprocess.run([binary, "show", finished[2], "--format", "json"], capture_output=True, text=True, check=True)
    path = page_of([row for row in json.loads(shown.stdout) if row["axes"]["windows.length"] == 32], finished[2], tmp_path)
    browser.open(path)
    assert browser.errors == [] and browser.run("document.querySelectorAll('figure .mark-symbol path').length") == 2


def test_what_files_say_is_text_and_nothing_else(page, browser):
    browser.open(page)
    assert browser.run("window.broken === undefined && document.querySelectorAll('img').length === 0")
    assert HOSTILE in browser.run("document.querySelector('#question').textContent")
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "<img" not in markdown.replace("\\<img", "") and "alert" in markdown
    assert HOSTILE in browser.run("document.querySelector('#verdicts').textContent")
    assert "A second paragraph." in browser.run("document.querySelector('#question p:last-child').textContent")
    assert "no question" not in browser.run("document.querySelector('#question').textContent")
    # Even a script that had got in would not run: the page's policy names its own two.
    browser.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))")
    assert browser.run("window.broken === undefined") and any("Content Security Policy" in error for error in browser.errors)


def test_a_legend_entry_shows_its_lines_alone_and_again_all(page, browser):
    browser.open(page)
    faint = """[...document.querySelectorAll("figure")].map((figure) => [...figure.querySelectorAll(".mark-symbol path")]
        .filter((mark) => Number(mark.getAttribute("opacity")) < 1).length)"""
    click = "document.querySelector('figure:has(.legend button) .legend button').click(); new Promise((done) => setTimeout(done, 300))"
    assert set(browser.run(faint)) == {0}
    browser.run(click)
    assert sum(browser.run(faint)) == 2  # the other scheme's two lengths, of this figure alone
    browser.run(click)
    assert set(browser.run(faint)) == {0}


def test_a_marker_tells_value_interval_count_and_cell(page, browser):
    browser.open(page)
    place = browser.run("""(() => { const mark = document.querySelector("#figure-perplexity .mark-symbol path"); mark.scrollIntoView({block: "center"});
        const box = mark.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()""")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    said = browser.run("new Promise((done) => setTimeout(() => done(document.querySelector('#vg-tooltip-element')?.textContent ?? ''), 500))")
    assert re.search(r"perplexity:?\s*\d+\.\d+", said) and "count" in said and re.search(r"[0-9a-f]{16}", said), said


def test_tables_of_a_thousand_rows_are_sorted_and_filtered_quickly(wide_page, browser):
    assert wide_page.stat().st_size < MOST_BYTES
    browser.open(wide_page)
    assert browser.errors == []
    column = "[...document.querySelectorAll('#all_rows thead th')].findIndex((head) => head.textContent === 'perplexity')"
    values = f"[...document.querySelectorAll('#all_rows tbody tr:not([hidden])')].map((row) => Number(row.cells[{column}].dataset.value))"
    before = browser.run(values)
    timed = lambda action: browser.run(f"(() => {{ const start = performance.now(); {action}; return performance.now() - start; }})()")  # noqa: E731
    head = f"document.querySelectorAll('#all_rows thead th')[{column}].click()"
    times = [timed(head)]
    assert browser.run(values) == sorted(before) != before
    times.append(timed(head))
    assert browser.run(values) == sorted(before, reverse=True)
    filter_rows = """const input = document.querySelector('#all_rows').parentElement.previousElementSibling.querySelector('input');
        input.value = 'G17 linear'; input.dispatchEvent(new Event('input'))"""
    times.append(timed(filter_rows))
    assert min(times) < 200 and max(times) < 1000, times  # 200 ms on a machine that does nothing else
    found = browser.run("[...document.querySelectorAll('#all_rows tbody tr:not([hidden])')].map((row) => row.textContent)")
    assert len(found) == 2 * 11 and all("g17" in text and "linear" in text for text in found)  # g17 and g170 to g179, at two lengths


def test_paper_shows_what_is_folded(page, browser):
    browser.open(page)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("document.querySelectorAll('section > details:not([open])').length") == 0
    assert browser.pdf().startswith(b"%PDF")


def test_a_folder_that_cannot_be_written_is_one_line(binary, results, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert_one_line(report(binary, results, "--out", tmp_path / "file/out"), "report: ", tmp_path / "file", "--out")
    (tmp_path / "out/report.md").mkdir(parents=True)
    assert_one_line(report(binary, results, "--out", tmp_path / "out"), f"report: {tmp_path / 'out/report.md'}: Is a directory")


def test_verdicts_of_another_form_are_refused_in_one_line(binary, results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    (folder / "verdicts.json").write_text("[" * 100_000, encoding="utf-8")
    assert_one_line(report(binary, folder), "verdicts.json", "write it again, or remove it")
    (folder / "verdicts.json").write_text('[{"claim": "without a verdict"}]', encoding="utf-8")
    assert_one_line(report(binary, folder), "verdicts.json", "needs a list of objects with claim, experiment, effect, interval, verdict")
