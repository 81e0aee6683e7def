"""What the papers show and `show` does not: means over documents, LaTeX that compiles (what stands in it: test_paper_tables.py); and the README's table
of verdicts."""
import json
import subprocess
import sys

import pytest

from support.findings import found_of, row
from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
import paper_claims  # noqa: E402
import paper_shown  # noqa: E402
import paper_tables  # noqa: E402
from paper_latex import latex  # noqa: E402
from reporting.content import Table  # noqa: E402


def test_a_running_mean_has_the_standard_error_of_the_values_so_far():
    assert paper_shown.running([1.0, 3.0, 5.0]) == [(1, 1.0, 0.0), (2, 2.0, pytest.approx(1.0)), (3, 3.0, pytest.approx((8 / 2 / 3) ** 0.5))]


def test_a_document_s_loss_is_the_mean_over_rounding_draws(tmp_path):
    one = row(0, "YaRN") | {"draws": [{"id": f"{number:016x}"} for number in range(2)]}
    for number in range(2):
        folder = tmp_path / "cells" / f"{number:016x}"
        folder.mkdir(parents=True)
        (folder / "windows.csv").write_text(f"document,tokens,nll_sum\nb,10,{20 + 20 * number}\na,10,50\n", encoding="utf-8")
    assert paper_shown.losses(found_of([one], tmp_path), one) == [("b", 3.0), ("a", 5.0)]


def test_what_yarn_gains_is_in_per_cent_of_ntk_and_less_its_loss_document_by_document(tmp_path, monkeypatch):
    yarn, ntk = row(0, "YaRN"), row(1, "NTK")
    (tmp_path / "plan.json").write_text(json.dumps({"cells": [{"id": yarn["id"]}]}), encoding="utf-8")
    paired = [yarn | {"paired": {"perplexity_ratio": {"value": 0.95, "low": 0.9, "high": 1.02}, "nll": {"survives": True}}}, ntk]
    monkeypatch.setattr(paper_shown, "show", lambda *_: json.dumps(paired))
    found = found_of([yarn, ntk], tmp_path)
    (point,) = paper_shown.improvement(found)["points"]
    assert [point[name] for name in ("x", "value", "low", "high")] == [512, pytest.approx(-5), pytest.approx(-10), pytest.approx(2)]
    assert point["text"] == "-5.00 % [-10.00, +2.00]" and point["full"]
    for one, losses in ((yarn, "b,10,10\na,10,30"), (ntk, "a,10,40\nb,10,40")):
        folder = tmp_path / "cells" / one["id"]
        folder.mkdir(parents=True)
        (folder / "windows.csv").write_text(f"document,tokens,nll_sum\n{losses}\n", encoding="utf-8")
    points = paper_shown.settling(found, found.finished, of_difference=True)["points"]
    assert [(point["x"], point["value"], point["low"]) for point in points] == [(1, -3.0, -3.0), (2, -2.0, -3.0)]  # 1 - 4, then 3 - 4, too


def test_a_perplexity_that_no_double_holds_is_an_empty_cell():
    assert paper_tables.number(None) == ""


def test_a_table_with_intervals_gaps_and_special_letters_compiles(tmp_path):
    rows = [["a_b % & # $ {x} ~ ^ \\\\ × Δ |x| < >", paper_tables.number(-1.25, -2, 13.5, 1, "+"), paper_tables.number(100, digits=3)], ["full precision", "", "words"]]
    text = latex(Table(["format", "mean", "5 %"], [("2048 tokens", rows)]), "a_b; 95 % intervals", "tab:a")
    (tmp_path / "x.tex").write_text("\\documentclass{article}\n\\usepackage{booktabs, siunitx}\n\\begin{document}\n" + text + "\\end{document}\n", encoding="utf-8")
    process = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace",
                             timeout=120, check=False)
    assert process.returncode == 0 and "Missing character" not in process.stdout and "Overfull" not in process.stdout, process.stdout[-2000:]


@pytest.mark.parametrize("interval, effect, said", [([-0.01545, 0.02764], 0.006093, "0.006 [-0.015, 0.028] nats"), ([175.2, 259.6], 213.3, "213 [175, 260] nats"),
                                                    ([0.0, 0.0], 0.0, "0.0000 [0.0000, 0.0000] nats"), (None, 0.43333, "0.433 nats")])
def test_an_effect_has_the_digits_that_its_interval_knows(interval, effect, said):
    entry = {"effect": effect, "interval": interval, "unit": "nats", "lengths": []}
    assert paper_claims.effect_text(entry) == said and paper_claims.effect_text(entry | {"lengths": [512, 4096]}) == f"{said} at 512 and 4096 tokens"


def test_verdicts_of_models_stand_beside_each_other_and_what_compares_nowhere_is_counted(tmp_path):
    entry = {"id": "a", "claim": "W4 | costs", "source": "table 1", "verdict": "reproduced", "effect": 0.1, "why": "the whole interval"}
    for model, verdict in (("tiny-books", "reproduced"), ("smollm2-135m", "not reproduced")):
        (tmp_path / model).mkdir()
        other = entry | {"id": "b", "verdict": "not comparable"}
        open_here = entry | {"id": "c", "claim": "long windows", "effect": None if model == "smollm2-135m" else 0.2}
        (tmp_path / model / "verdicts.json").write_text(json.dumps([entry | {"verdict": verdict}, other, open_here]), encoding="utf-8")
    command = [sys.executable, REPO / "scripts/verdicts", tmp_path / "tiny-books", tmp_path / "smollm2-135m"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == ["| claim | paper | tiny-books | smollm2-135m |", "|---|---|---|---|",
                                           "| W4 \\| costs | table 1 | reproduced | not reproduced |",
                                           "| long windows | table 1 | reproduced | not measured |", "",
                                           "1 more cannot be compared on these models: numbers of the papers' own, or without a protocol."]
    (tmp_path / "before/tiny-books").mkdir(parents=True)
    (tmp_path / "before/tiny-books/verdicts.json").write_text(json.dumps([entry | {"verdict": "not reproduced", "why": "too small to count: the interval"}]), encoding="utf-8")
    process = subprocess.run([*command[:2], "tiny-books", "before/tiny-books"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.stdout.splitlines()[0] == "| claim | paper | tiny-books | before/tiny-books |"
    assert process.stdout.splitlines()[2] == "| W4 \\| costs | table 1 | reproduced | not reproduced (too small to count) |"
    for broken, said in ([{"id": "a", "claim": "c", "source": "s", "effect": 1, "why": ""}], "an entry has no 'verdict'"), (3, "is no list of verdicts"), ([], "has no verdict"), \
            ([entry | {"source": None}], "claim, source, verdict of an entry are no texts"):
        (tmp_path / "before/tiny-books/verdicts.json").write_text(json.dumps(broken), encoding="utf-8")
        process = subprocess.run([*command[:2], "before/tiny-books"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert process.returncode == 1 and process.stderr.count("\n") == 1 and f"before/tiny-books/verdicts.json: {said}" in process.stderr
    process = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "scripts/paper" in process.stderr
