"""What targets that are not about the loss show: the mean over benchmarks, the numbers of a diagnostic; and LaTeX that fits a page."""
import csv
import io
import json
import subprocess

import pytest
from support.findings import found_of, row

import paper_diagnosed
import paper_report
import paper_tables
from paper_latex import latex
from reporting import markdown
from reporting.build import sections
from reporting.content import Ranking, Table
from reporting.figures import Figure
from reporting.labels import MOST

SCALES = [{"type": "none"}, {"type": "bands", "name": "Q-ROAR shared"}]
LENGTHS = (4096, 32768)


def fits(text, tmp_path):
    """Returns the log of pdflatex, of a page of the class article."""
    (tmp_path / "x.tex").write_text("\\documentclass{article}\n\\usepackage{booktabs, siunitx}\n\\begin{document}\n" + text + "\\end{document}\n", encoding="utf-8")
    process = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace",
                             timeout=120, check=False)
    return process.returncode == 0 and not any(word in process.stdout for word in ("Overfull", "too large", "Missing character"))


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """Rows of four formats in two windows: a format's number of questions right is its place."""
    rows, pairs = [], []
    for length in LENGTHS:
        for place, (quant, scales) in enumerate((quant, scales) for quant in ("none", "RTN W4") for scales in SCALES):
            name = scales.get("name", "none")
            right = lambda number: {"value": 0.1 * place + 0.02 * number, "low": 0.1 * place, "high": 0.1 * place + 0.1, "count": 60 + number}  # noqa: E731
            metrics = {f"{metric.partition('/')[0]}/{kind}": right(number)
                       for number, metric in enumerate(paper_tables.BENCHMARKS) for kind in ("acc", "acc_norm")}
            tasks = [{"type": "multiple_choice", "pad": {"tokens": length}}]
            one = row(10 * length + place, "yarn", quant, length, metrics=metrics, texts={})
            one["axes"] |= {"quant": [] if quant == "none" else quant, "rescale": scales, "tasks": tasks}
            one["labels"] |= {"rescale": name, "tasks": f"arc shots=5 padded to {length}"}
            rows.append(one)
            own = {metric: {"difference": 0.1 * place, "low": 0.1 * place - 0.2, "high": 0.1 * place + 0.2, "p_value": 0.3} for metric in paper_tables.BENCHMARKS}
            pairs.append({"id": one["id"], "paired": {"tasks": own} if place else {"reason": "baseline"}})
    monkeypatch.setattr(paper_tables, "show", lambda *_: json.dumps(pairs))
    return found_of(rows, tmp_path)


def test_the_mean_over_benchmarks_stands_first_in_the_tables_and_figures_of_table_3(answered, tmp_path):
    means, benchmarks, differences, right = paper_tables.accuracy(answered)
    assert means.columns == ["format", "mean", "against full precision"] and [title for title, _ in means.blocks] == ["windows of 4096 tokens", "windows of 32768 tokens"]
    assert [[getattr(cell, "value", cell) for cell in line] for line in means.blocks[0][1][:2]] == [
        ["full precision", pytest.approx(4.0), ""], ["full precision + Q-ROAR shared", pytest.approx(14.0), pytest.approx(10.0)]]
    assert [cell.text for cell in benchmarks.blocks[1][1][2][1:]] == ["20.0", "22.0", "24.0", "26.0", "28.0"]
    for figure, lines in ((differences, 6), (right, 8)):
        assert [panel["title"] for panel in figure.panels] == [paper_tables.MEAN, "ARC-C", "ARC-E", "BoolQ", "HellaSwag", "WinoGrande"]
        assert all(len(panel["points"]) == lines == len(panel["lines"]) and max(map(len, panel["lines"])) <= MOST for panel in figure.panels)
    (point,) = (one for one in differences.panels[0]["points"] if one["line"] == "RTN W4 + Q-ROAR, 32768")
    assert [next(iter(panel["points"]))["count"] for panel in right.panels] == [310, 60, 61, 62, 63, 64]
    assert point["value"] == pytest.approx(30.0) and point["what"] == "yarn · RTN W4 · length=32768 · Q-ROAR shared"  # the task's settings go with the length
    survives = {one["line"]: one["full"] for one in differences.panels[0]["points"]}  # beside 30 comparisons of p = 0.3: 10 +- 8.9 (p = 0.03), 20 +- 8.9
    assert (survives["FP + Q-ROAR, 4096"], survives["RTN W4, 4096"]) == (False, True)
    for table in (means, benchmarks):
        assert fits(latex(table, table.title, "tab:t3"), tmp_path)


def test_the_page_shows_of_table_3_no_ranking_of_single_metrics(answered):
    section = paper_report.of_target("t3", answered)
    assert not [part for part in section.parts if isinstance(part, Ranking)]
    assert [part.title for part in section.parts if isinstance(part, (Table, Figure))] == [
        "Per cent right, five shots: the mean of the five benchmarks", "Per cent right, five shots, by benchmark", "What differs from full precision", "Accuracy"]


def test_published_numbers_and_their_protocols_fit_a_page_beside_five_lengths(tmp_path):
    rows = []
    for length in (2048, 4096, 8192, 16384, 32768):
        for number, quant in enumerate(("none", "AWQ W4", "GPTQ W4", "NF4", "RTN W4")):
            one = row(10 * length + number, "yarn", quant, length, 213.26, 42.1)
            one["config"] |= {"windows": {"protocol": "yarn_proofpile"}, "data": {"path": "data/proof_pile.jsonl"}}
            rows.append(one)
    (table,) = paper_tables.beside_published(found_of(rows, tmp_path))
    assert [line[0] for _, body in table.blocks[:2] for line in body] == ["FP16 with YaRN, table 2", "Yarn-Llama-2-7b-64k, YaRN's own table"]
    assert table.blocks[2][0] == "yarn_proofpile, 2048 tokens; mean of the means of 8 documents of proof_pile"
    assert fits(latex(table, table.title, "tab:t2"), tmp_path)


@pytest.fixture
def diagnosed(tmp_path):
    """Rows of three schemes with outliers in band 1 of keys after RoPE, in two layers."""
    rows = [row(number, rope, "none", 4096) for number, rope in enumerate(("none", "linear ×8", "yarn ×8"))]
    for number, one in enumerate(rows):
        lines = ["layer,site,rope,band,documents,count,outliers,fraction,fraction_low,fraction_high"]
        for layer in range(2):
            for site in ("q_proj", "k_proj"):
                for when in ("before", "after"):
                    rate = 1e-4 * (number + layer) if (site, when) == ("k_proj", "after") else 0
                    lines += [f"{layer},{site},{when},0,6,1000,0,0,,", f"{layer},{site},{when},1,6,1000,1,{rate},{rate / 2 if rate else ''},{rate * 2 if rate else ''}"]
        folder = tmp_path / "cells" / one["id"] / "diagnostics"
        folder.mkdir(parents=True)
        (folder / "outlier_counts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found_of(rows, tmp_path)


def test_a_target_that_is_about_a_diagnostic_has_its_numbers_as_tables_and_data(diagnosed, tmp_path):
    (table,) = paper_diagnosed.tables(diagnosed)
    assert table.title == "Outliers, outliers per million" and table.columns == ["RoPE band", "none", "linear ×8", "yarn ×8"]
    assert [title for title, _ in table.blocks] == ["q, before RoPE", "q, after RoPE", "k, before RoPE", "k, after RoPE"]
    assert "| 1 | 50 [25, 100] | 150 [75, 300] | 250 [125, 500] |" in "".join(markdown.table(table)).splitlines()
    assert "| 0 | 0 | 0 | 0 |" in "".join(markdown.table(table)).splitlines()
    text = latex(table, table.title, "tab:f20-outlier_counts")
    assert "\\caption{Outliers, outliers per million}\n  \\label{tab:f20-outlier_counts}" in text and "\\toprule" in text and fits(text, tmp_path)
    files = paper_diagnosed.data_files(diagnosed)
    lines = [line for line in csv.DictReader(io.StringIO(files["outlier_counts.csv"])) if (line["panel"], line["at"]) == ("k, after RoPE", "1")]
    assert [[line["row"], *(float(line[name]) for name in ("value", "low", "high"))] for line in lines] == [
        ["none", 50, 25, 100], ["linear ×8", 150, 75, 300], ["yarn ×8", 250, 125, 500]]
    names, *body = [line.split() for line in files["outlier_counts.dat"].splitlines() if not line.startswith("#")]
    assert dict(zip(names, map(float, body[1])))["L12"] == 250 and dict(zip(names, map(float, body[1])))["L12_plus"] == 250


@pytest.mark.parametrize("unknown", [None, 0, 2])  # the draw without intervals
def test_numbers_over_rounding_draws_are_their_mean_with_the_outermost_ends_and_long_tables_have_a_float_for_each_block(tmp_path, unknown):
    one = row(0, "yarn ×8", "RTN W4", 4096) | {"draws": [{"id": f"{number:016x}"} for number in range(3)]}
    for number in range(3):
        lines = ["moving,pairs,begin,end,documents,tokens,nll,difference,difference_low,difference_high"]
        ends = "," if number == unknown else f"{number - 1},{number + 1}"
        lines += [f"{moving},16,{begin},{begin + 256},6,9,1234.567,{number},{ends}" for moving in ("all", "wrapped", "unwrapped", "none")
                  for begin in range(0, 4096, 256)]
        folder = tmp_path / "cells" / f"{number:016x}" / "diagnostics"
        folder.mkdir(parents=True)
        (folder / "aliasing.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = found_of([one], tmp_path)
    (table,) = paper_diagnosed.tables(found)
    assert table.columns == ["position", "the experiment"] and table.blocks[1][1][0][1].text == ("1.0 [-1.0, 3.0]" if unknown is None else "1.000")
    text = latex(table, table.title, "tab:aliasing")
    assert text.count("\\begin{table}") == 4 and "\\label{tab:aliasing-4}" in text and fits(text, tmp_path)
    section = paper_report.of_target("causes", found)
    assert [type(part) for part in section.parts if isinstance(part, (Table, Figure))] == [Figure]  # 64 rows are files alone
    assert "Of several rounding draws" in section.parts[-1].note


def test_a_report_of_diagnostics_and_the_page_begin_with_them(diagnosed):
    vars(diagnosed)["paired"] = {"rope": [one | {"paired": {"nll": {"difference": 0.5, "low": 0.4, "high": 0.6, "survives": True}}} for one in diagnosed.finished]}
    order = [section.name for section in sections(diagnosed)]
    assert order.index("outlier_counts") < order.index("answer") < order.index("effects")
    section = paper_report.of_target("f20", diagnosed)
    assert [part.title for part in section.parts if isinstance(part, (Table, Figure, Ranking))] == ["Outliers, outliers per million", "Outliers"]
