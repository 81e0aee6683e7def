"""Searches for band scales in whole runs: their controls, their cache, kills in the middle, and what is refused."""
import copy
import json
import math
import os
import random
import subprocess
import sys
import time

import pytest

from support.program import REPO, TEXT, assert_one_line, copy_of_tiny_books, lasting, litter, read_csv, read_rows

THREE_BITS = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
SEARCH = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [256], "short_length": 64, "guard": 1, "grid": {"points": 3}}
BANDS = {"type": "bands", "bands": 3, "search": SEARCH}
BASE = {"data": {"path": str(TEXT), "skip": 1}, "windows": {"length": 256, "truncate": True, "bos": False},
        "rope": {"type": "yarn", "factor": 2}, "quant": THREE_BITS, "sweep": None}
RANDOM = [f"random scales {draw}" for draw in range(8)]
CONTROLS = ["full precision", "full precision, same scales", "unscaled", "one temperature", *RANDOM]


@pytest.fixture
def searching(experiment):
    """searching({dotted key: value}) -> an experiment with one searched cell; None leaves a block out."""

    def write(changes=None, name="search.yaml"):
        merged = copy.deepcopy(BASE | {"rescale": BANDS}) | (changes or {})
        return experiment({key: value for key, value in merged.items() if value is not None or key == "sweep"}, name)

    return write


def shuffled_texts(path, names):
    """Writes a text for each name, of the same words in another order."""
    words = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"].split()
    texts = [{"id": name, "text": " ".join(random.Random(name).sample(words, 300))} for name in names]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    return str(path)


@pytest.fixture
def own_cache(tmp_path):
    return {"env": os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}}


def searched_row(results):
    return next(row for row in read_rows(results).values() if "controls" in row)


def test_a_search_runs_with_its_controls_and_prints_them_beside_it(run, searching, tmp_path, own_cache):
    hot = {"rope": {"type": "yarn", "factor": 2, "attention_factor": 0.97}}  # so that one temperature has something to find
    process = run("run", searching(hot), "--results", tmp_path / "results", **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "results")
    assert len(rows) == 13 and all(row["status"] == "ok" for row in rows.values())
    row = searched_row(tmp_path / "results")
    assert set(row["controls"]) == set(CONTROLS)
    control = {name: rows[row["controls"][name]] for name in CONTROLS}
    assert control["unscaled"]["config"]["rescale"] == {"type": "none"} and control["unscaled"]["config"]["quant"] == row["config"]["quant"]
    assert control["full precision"]["config"]["quant"] == control["full precision, same scales"]["config"]["quant"] == []
    nll = {name: other["metrics"]["nll"]["value"] for name, other in control.items()} | {"found": row["metrics"]["nll"]["value"]}
    assert len(set(nll.values())) == 13, nll
    # The control with the same scales in full precision has the very scales that were found under the quantization.
    scales = {name: json.loads((tmp_path / "results/cells" / other["id"] / "scales.json").read_text())["scales"]
              for name, other in control.items() if "search" in other}
    found = json.loads((tmp_path / "results/cells" / row["id"] / "scales.json").read_text())["scales"]
    assert scales["full precision, same scales"] == found
    assert row["search"]["dev_gain"] >= 0 and row["search"]["g"] == found[0]
    norm = [sum(math.log(g) ** 2 for g in scales[name][0]) for name in (*RANDOM, "full precision, same scales")]
    assert norm == pytest.approx([norm[-1]] * 9)
    assert all(control[name]["search"]["g"] == scales[name][0] for name in RANDOM)
    one = control["one temperature"]["search"]
    assert one["g"] == scales["one temperature"][0] and len(one["g"]) == 1
    assert 0 <= one["dev_gain"] and one["candidates"] > SEARCH["grid"]["points"] and one["cost"] <= row["search"]["cost"]
    assert "searched scales and their controls" in process.stdout
    assert f"{nll['found'] - nll['unscaled']:+.4f}" in process.stdout
    of_both = nll["full precision, same scales"] - nll["full precision"]
    assert f"{of_both:+.4f}" in process.stdout and f"{nll['found'] - nll['unscaled'] - of_both:+.4f}" in process.stdout
    of_one = nll["one temperature"] - nll["unscaled"]
    assert f"{of_one:+.4f}" in process.stdout and f"{nll['found'] - nll['one temperature']:+.4f}" in process.stdout
    drawn = [nll[name] - nll["unscaled"] for name in RANDOM]
    assert f"{sum(drawn) / 8:+.4f}" in process.stdout
    history = read_csv((tmp_path / "results/cells" / row["id"] / "search.csv").read_text())
    assert history[0]["verdict"] == "identity" and len(history) == row["search"]["candidates"]
    assert not litter(tmp_path)


def test_over_draws_each_search_is_compared_with_its_own_scales_in_full_precision(run, searching, tmp_path, own_cache):
    """The base is float32, where full precision without scales is one row for all draws; with them it is one for each."""
    file = searching({"sweep": [{"rounding.draw": [0, 1, 2]}]})
    process = run("run", file, "--results", tmp_path / "out", **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "out")
    searched = [row for row in rows.values() if "controls" in row]
    assert len(searched) == 3 and len({str(row["search"]["g"]) for row in searched}) > 1
    nll = {cell: row["metrics"]["nll"]["value"] for cell, row in rows.items()}
    gains = [nll[row["controls"]["full precision, same scales"]] - nll[row["controls"]["full precision"]] for row in searched]
    beyond = [nll[row["id"]] - nll[row["controls"]["unscaled"]] - gain for row, gain in zip(searched, gains)]
    found = next(row["searched"] for row in json.loads(run("show", tmp_path / "out", "--format", "json").stdout) if "searched" in row)
    assert found["full precision, same g"]["difference"] == pytest.approx(sum(gains) / 3, abs=1e-12)
    assert found["gain beyond full precision"]["difference"] == pytest.approx(sum(beyond) / 3, abs=1e-12)


def test_over_draws_a_row_shows_what_each_search_found(run, searching, tmp_path, own_cache):
    """The gain on the dev texts is a mean like those beside it, and scales that differ between draws are not those of draw 0."""
    results = tmp_path / "out"
    process = run("run", searching({"sweep": [{"rounding.draw": [0, 1, 2]}]}), "--results", results, **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(results)
    searched = {row["id"]: row["search"] for row in rows.values() if "controls" in row}
    gains = [search["dev_gain"] for search in searched.values()]
    assert len(set(gains)) == 3 and len({str(search["g"]) for search in searched.values()}) > 1
    found = next(row for row in json.loads(run("show", results, "--format", "json").stdout) if "searched" in row)
    assert {draw["id"]: draw["search"] for draw in found["draws"]} == searched and "search" not in found
    line = run("show", results).stdout.rstrip().splitlines()[-1]
    assert line.split()[-3:] == [f"{-sum(gains) / 3:+.4f}", "by", "draw"], line
    assert subprocess.run([sys.executable, REPO / "scripts/report.py", results], capture_output=True, text=True).returncode == 0
    report = (results / "report.html").read_text(encoding="utf-8")
    assert all(f"gain on the dev texts {gain:.4f} nats" in report for gain in gains)


@pytest.mark.parametrize("first", [0, 1])
def test_a_search_without_a_draw_has_its_controls_beside_one_over_draws(run, searching, tmp_path, own_cache, first):
    """Its unscaled model and its full precision are those of draw 0, which the rows over draws have, too."""
    blocks = [{"rounding.draw": [0, 1, 2]}, {"rescale.search.grid": [{"points": 5}]}]
    file = searching({"sweep": [blocks[first], blocks[1 - first]]})
    process = run("run", file, "--results", tmp_path / "out", **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "out")
    nll = {cell: row["metrics"]["nll"]["value"] for cell, row in rows.items()}
    (alone,) = [row for row in rows.values() if "controls" in row and "rounding" not in row["config"]]
    shown = [row for row in json.loads(run("show", tmp_path / "out", "--format", "json").stdout) if "searched" in row]
    assert len(shown) == 2
    for row in shown:
        assert all("difference" in pair for pair in row["searched"].values()), row["searched"]
    found = next(row["searched"] for row in shown if row["id"] == alone["id"])
    assert found["quantized, found g"]["difference"] == pytest.approx(nll[alone["id"]] - nll[alone["controls"]["unscaled"]], abs=1e-12)


@pytest.mark.parametrize(("draws", "over"), [([1], "95 % intervals over 5 documents, given this rounding"),
                                              ([0, 1], "no intervals over 2 rounding draws: 3 are the fewest")], ids=["one", "two"])
def test_controls_have_intervals_given_one_rounding_and_none_over_two(run, searching, tmp_path, own_cache, draws, over):
    file = searching({"windows": {"length": 128, "truncate": True, "bos": False}, "sweep": [{"rounding.draw": draws}],
                      "data": {"path": shuffled_texts(tmp_path / "eval.jsonl", "abcde")}})
    process = run("run", file, "--results", tmp_path / "out", **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "out")
    nll = {cell: row["metrics"]["nll"]["value"] for cell, row in rows.items()}
    gains = [nll[row["id"]] - nll[row["controls"]["unscaled"]] for row in rows.values() if "controls" in row]
    found = next(row["searched"] for row in json.loads(run("show", tmp_path / "out", "--format", "json").stdout) if "searched" in row)
    assert len(found) == 6 and found["quantized, found g"]["difference"] == pytest.approx(sum(gains) / len(draws), abs=1e-12)
    for pair in found.values():
        assert (pair["clusters"], pair["draws"]) == (5, len(draws))
        assert (pair["low"] is None) == (len(draws) == 2)
    text = run("show", tmp_path / "out").stdout
    controls = text[text.index("searched scales and their controls"):]
    assert over in text and ("[" in controls) == (len(draws) == 1)


def test_the_report_draws_what_show_prints(run, searching, tmp_path, own_cache):
    results = tmp_path / "results"
    process = run("run", searching({"windows": {"length": 128, "truncate": True, "bos": False},
                                     "data": {"path": shuffled_texts(tmp_path / "eval.jsonl", "abcde")}}), "--results", results, **own_cache)
    assert process.returncode == 0, process.stderr
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", results], capture_output=True, text=True)
    assert written.returncode == 0, written.stderr
    assert "(searched.png)" in (results / "report.md").read_text() and (results / "searched.svg").stat().st_size > 1000
    found = next(row["searched"] for row in json.loads(run("show", results, "--format", "json").stdout) if "searched" in row)
    assert len(found) == 6
    report = (results / "report.md").read_text()
    for pair in found.values():
        texts = [f"{pair['difference']:+.{digits}f} [{pair['low']:+.{digits}f}, {pair['high']:+.{digits}f}]" for digits in range(1, 8)]
        texts = ["equal"] if pair["difference"] == pair["stderr"] == 0 else texts
        assert any(text in process.stdout for text in texts) and any(text in report for text in texts)


def test_a_control_that_did_not_run_is_named(run, searching, tmp_path, own_cache):
    file, results = searching(), tmp_path / "results"
    assert run("run", file, "--results", results, **own_cache).returncode == 0
    row = searched_row(results)
    (results / "cells" / row["controls"]["unscaled"] / "row.json").unlink()
    assert "not run" in run("show", results).stdout


def test_controls_that_the_sweep_holds_itself_run_once(run, searching, tmp_path, own_cache):
    sweep = [{"quant": [[], THREE_BITS], "rescale": [{"type": "none"}, BANDS]}]
    file = searching({"quant": None, "rescale": None, "sweep": sweep})
    checked = run("check", file)
    # 4 of the sweep; of [] random scales (8) and one temperature, of 3 bits the same scales, too.
    assert ": 23 jobs\n" in checked.stdout, checked.stdout
    assert run("run", file, "--results", tmp_path / "results", **own_cache).returncode == 0


def test_scales_from_a_search_s_file_give_the_same_row(run, searching, tmp_path, own_cache):
    results = tmp_path / "results"
    assert run("run", searching(), "--results", results, **own_cache).returncode == 0
    row = searched_row(results)
    file = searching({"rescale": {"type": "bands", "file": str(results / "cells" / row["id"] / "scales.json")}}, "file.yaml")
    assert run("run", file, "--results", tmp_path / "file", **own_cache).returncode == 0
    (again,) = read_rows(tmp_path / "file").values()
    assert again["metrics"] == row["metrics"]
    other = json.loads((results / "cells" / row["id"] / "scales.json").read_text()) | {"model": "0" * 32}
    (tmp_path / "other.json").write_text(json.dumps(other))
    file = searching({"rescale": {"type": "bands", "file": str(tmp_path / "other.json")}}, "other.yaml")
    process = run("run", file, "--results", tmp_path / "other", **own_cache)
    assert process.returncode == 1 and "found for the model with hash 0000" in process.stderr


def test_a_killed_search_goes_on_and_ends_with_the_same_bits(run, start, searching, tmp_path, own_cache):
    file = searching({"rescale.bands": 4, "rescale.search.grid.points": 7})
    undisturbed = {"env": own_cache["env"] | {"QROAR_CACHE": str(tmp_path / "other")}}
    assert run("run", file, "--results", tmp_path / "undisturbed", **undisturbed).returncode == 0
    kept = 0
    for lines in (2, 9):
        process = start("run", file, "--results", tmp_path / "results", **own_cache)
        while process.poll() is None and sum(path.read_text().count("\n") for path in (tmp_path / "cache").glob("search/*/journal.jsonl")) < lines:
            time.sleep(0.002)
        process.kill()
        process.communicate()
        kept += process.returncode == -9
    assert kept >= 1
    process = run("run", file, "--results", tmp_path / "results", **own_cache)
    assert process.returncode == 0, process.stderr
    expected, found = (read_rows(tmp_path / name) for name in ("undisturbed", "results"))
    assert {key: lasting(row) for key, row in found.items()} == {key: lasting(row) for key, row in expected.items()}
    row = searched_row(tmp_path / "results")
    assert (tmp_path / "results/cells" / row["id"] / "search.csv").read_bytes() == (
        tmp_path / "undisturbed/cells" / row["id"] / "search.csv").read_bytes()


@pytest.mark.parametrize("strategy", [{"type": "coordinate"}, {"type": "gradient", "steps": 2}, {"type": "layerwise", "probes": 4}])
def test_strategies_run_from_a_file(run, searching, tmp_path, own_cache, strategy):
    process = run("run", searching({"rescale.search.strategy": strategy}), "--results", tmp_path / "results", **own_cache)
    assert process.returncode == 0, process.stderr
    summary = searched_row(tmp_path / "results")["search"]
    assert summary["dev_gain"] >= 0
    assert ("proxy_rank_correlation" in summary) == (strategy["type"] == "layerwise")


def test_an_experiment_s_order_changes_no_search(run, searching, tmp_path, own_cache):
    file = searching()
    assert run("run", file, "--results", tmp_path / "a", **own_cache).returncode == 0
    row = searched_row(tmp_path / "a")
    alone = {"env": own_cache["env"] | {"QROAR_CACHE": str(tmp_path / "other")}}
    assert run("run", file, "--results", tmp_path / "b", "--only", row["id"], **alone).returncode == 0
    assert lasting(searched_row(tmp_path / "b")) == lasting(row)


@pytest.mark.parametrize(("changes", "parts"), [
    ({"rescale.search.data.skip": 1, "rescale.search.data.documents": 1}, ["64 tokens in common with 'bridge', which is evaluated"]),
    ({"rescale.search.lengths": [4096]}, ["windows of 4096 are scored", "min_tokens: 4096"]),
    ({"rescale.search.strategy": {"type": "random"}}, ["strategy", "give search.budget"]),
    ({"rescale.variant": "symmetric", "rescale.search.strategy": {"type": "layerwise"}}, ["symmetric scales leave every attention logit"]),
    ({"rescale.search.grid.points": 4}, ["points", "odd"]),
    ({"rescale.bands": 33}, ["33 bands need as many RoPE pairs and head_dim 64 has 32"]),
    ({"rescale.search.strategy": {"type": "cma"}}, ["cma_es"]),
    ({"rescale.search.lenghts": [1]}, ["did you mean"]),
    ({"rescale.search.guided": True}, ["rescale.search.guided", "write guide: pressure for true and guide: none for false"]),
    ({"rescale.search.guide": "sensitivty"}, ["did you mean 'sensitivity'"]),
    ({"rescale.search.guide": "sensitivity", "rescale.search.budget": 8}, ["budget", "the guide's gradient counts as 8 forwards"]),
    ({"rescale.search.folds": 2}, ["2 folds need as many groups of documents, and the dev texts have 1"]),
    ({"rescale.search.rope": {"type": "yarm"}}, ["rescale.search.rope", "did you mean 'yarn'"]),
    ({"rescale.control": "random", "rescale.draw": -1}, ["rescale.draw", "from 0 to 1000000"]),
    ({"rescale.search.rope": {"type": "linear", "factor": 2}, "quant": [{"match": "layers.*", "weight": {"type": "gptq", "group": 64}}],
      "calibration": {"data": {"path": str(TEXT)}, "samples": 1, "length": 64, "rope": "evaluated"}},
     ["rescale.search.rope", "write calibration.rope: trained"]),
])
def test_bad_searches_are_refused_in_one_line(run, searching, tmp_path, own_cache, changes, parts):
    process = run("run", searching(changes), "--results", tmp_path / "results", **own_cache)
    if process.stdout == "" and process.stderr.count("\n") == 1:
        assert_one_line(process, *parts)
    else:  # found once the cell runs
        assert process.returncode == 1
        error = next(row["error"] for row in read_rows(tmp_path / "results").values() if row["status"] == "failed")
        assert all(part in error for part in parts), error


def test_a_search_whose_guard_refuses_everything_leaves_scales_of_1(run, searching, tmp_path, own_cache):
    far = {"guard": 0, "grid": {"low": 0.1, "high": 10, "points": 3}}
    file = searching({"rescale.search": SEARCH | far, "quant": [], "windows": {"length": 128, "truncate": True, "bos": False},
                      "data": {"path": shuffled_texts(tmp_path / "eval.jsonl", "abcde")}})
    process = run("run", file, "--results", tmp_path / "results", **own_cache)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "results")
    assert all(row["status"] == "ok" for row in rows.values())
    searched = [row for row in rows.values() if "search" in row]
    assert len(searched) == 10  # random scales and one temperature, too
    for row in searched:
        assert "the guard refused all" in row["search"]["note"] and set(row["search"]["g"]) == {1} and row["search"]["dev_gain"] == 0
    assert len({row["metrics"]["nll"]["value"] for row in rows.values()}) == 1
    assert "rescale.search: the guard refused all" in process.stderr
    assert "equal" in process.stdout and "nan" not in process.stdout  # equal rows differ by nothing that could be detected


def test_a_search_under_another_scheme_finds_what_a_cell_under_that_scheme_finds(run, searching, tmp_path, own_cache):
    linear = {"type": "linear", "factor": 2}
    near = {"rescale.search.lengths": [1024], "rescale.search.grid": {"low": 0.9, "high": 1.1, "points": 3}}
    own = searching(near | {"rope": linear}, "own.yaml")
    other = searching(near | {"rescale.search.rope": {"type": "linear", "factor": "auto"}}, "other.yaml")
    assert run("run", own, "--results", tmp_path / "own", **own_cache).returncode == 0
    journals = sorted((tmp_path / "cache/search").glob("*/journal.jsonl"))
    assert run("run", other, "--results", tmp_path / "other", **own_cache).returncode == 0
    first, second = searched_row(tmp_path / "own"), searched_row(tmp_path / "other")
    # factor: auto is that of the searched length, 1024 / 512.
    assert second["search"]["g"] == first["search"]["g"] and set(second["search"]["g"]) != {1}
    assert sorted((tmp_path / "cache/search").glob("*/journal.jsonl")) == journals
    assert second["metrics"]["nll"] != first["metrics"]["nll"] and "dev_rope" in second["environment"]["inputs"]


ALONE = {"rescale.search.quantization": {"quant": THREE_BITS}}  # a search that says what it quantizes has no controls


def journals_of(run, files, tmp_path, own_cache):
    """How many searches of these experiments, one after the other, scored something of their own."""
    for i, file in enumerate(files):
        process = run("run", file, "--results", tmp_path / f"journals{i}", **own_cache)
        assert process.returncode == 0, process.stderr
    return len(list((tmp_path / "cache/search").glob("*/journal.jsonl")))


def test_schemes_that_differ_in_short_windows_alone_share_no_scores(run, searching, tmp_path, own_cache):
    # Twice the trained 512 tokens: the guard's windows of 64 tokens differ.
    schemes = [{"type": "ntk", "factor": 2}, {"type": "dynamic_ntk", "factor": 1}]
    files = [searching(ALONE | {"rope": scheme, "rescale.search.lengths": [1024]}, f"{scheme['type']}.yaml") for scheme in schemes]
    assert journals_of(run, files, tmp_path, own_cache) == 2


def test_schemes_that_differ_in_what_calibration_sees_alone_share_no_scores(run, searching, tmp_path, own_cache):
    # Within the trained 512 tokens the dynamic scheme is plain RoPE; samples are longer.
    quantization = {"quant": [{"match": "layers.*", "weight": {"type": "gptq", "bits": 3, "group": 64}}],
                    "calibration": {"data": {"path": str(TEXT)}, "samples": 1, "length": 600, "rope": "evaluated"}}
    schemes = [{"type": "none"}, {"type": "dynamic_ntk", "factor": 1}]
    files = [searching({"rescale.search.quantization": quantization, "rope": scheme, "rescale.search.guide": "none"}, f"{scheme['type']}.yaml")
             for scheme in schemes]
    assert journals_of(run, files, tmp_path, own_cache) == 2


def test_another_tokenizer_searches_anew(run, searching, tmp_path, own_cache):
    model = copy_of_tiny_books(tmp_path / "model")
    files = [searching(ALONE | {"model.path": str(model)})]
    assert journals_of(run, files, tmp_path, own_cache) == 1
    with open(model / "tokenizer.model", "ab") as tokenizer:
        tokenizer.write(b"\xfa\x3f\x01x")  # a field that SentencePiece skips
    assert journals_of(run, files, tmp_path, own_cache) == 2


@pytest.mark.parametrize("guide", ["sensitivity", "pressure", "none"])
def test_guides_and_folds_run_from_a_file(run, searching, tmp_path, own_cache, guide):
    file = searching({"rescale.search.data": {"path": shuffled_texts(tmp_path / "dev.jsonl", "abc")}, "rescale.search.folds": 3, "rescale.search.guide": guide,
                      "rescale.search.quantization": {"quant": THREE_BITS}})  # without controls
    process = run("run", file, "--results", tmp_path / "results", **own_cache)
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(tmp_path / "results").values()
    summary = row["search"]
    assert "quant" not in row["axes"]  # there is nothing to tell it from
    assert [name for name, values in summary["guide"].items() if values] == {"sensitivity": ["sensitivity"], "none": [],
                                                                             "pressure": ["pressure", "inflation"]}[guide]
    assert summary["gradients"] == (guide == "sensitivity")
    folds = summary["cross_validation"]["folds"]
    assert len(folds) == 3 and len({name for fold in folds for name in fold["documents"]}) == 3
    assert summary["cross_validation"]["gain"] == pytest.approx(sum(fold["held_out_gain"] for fold in folds) / 3)


def test_dev_texts_are_compared_with_what_is_evaluated_over_all_of_their_longest_window(run, searching, tmp_path, own_cache):
    evaluated = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[1])["text"]
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps({"id": "own", "text": "A beginning of its own. " * 16 + evaluated}), encoding="utf-8")  # longer than a short window
    process = run("run", searching({"rescale.search.data": {"path": str(dev)}}), "--results", tmp_path / "results", **own_cache)
    assert_one_line(process, "document 'own' of rescale.search.data has 64 tokens in common with 'bridge', which is evaluated")


def test_cells_of_other_scales_do_not_share_a_model(run, searching, tmp_path, own_cache):
    scales = [[1.0, 1.0], [1.25, 0.8], [0.8, 1.25]]
    sweep = [{"rescale": [{"type": "bands", "bands": 2, "scales": one} for one in scales]}]
    file = searching({"rescale": None, "sweep": sweep})
    assert run("run", file, "--results", tmp_path / "together", **own_cache).returncode == 0
    together = read_rows(tmp_path / "together")
    assert len({row["metrics"]["nll"]["value"] for row in together.values()}) == 3
    for cell, row in together.items():
        assert run("run", file, "--results", tmp_path / "alone", "--only", cell, **own_cache).returncode == 0
        assert lasting(read_rows(tmp_path / "alone")[cell]) == lasting(row)


def test_symmetric_scales_change_nothing_in_full_precision(run, searching, tmp_path, own_cache):
    rescale = {"type": "bands", "variant": "symmetric", "bands": 2, "scales": [1.25, 0.8]}
    file = searching({"sweep": [{"rescale": [{"type": "none"}, rescale]}], "rescale": None, "quant": []})
    assert run("run", file, "--results", tmp_path / "results", **own_cache).returncode == 0
    first, second = (row["metrics"]["nll"]["value"] for row in read_rows(tmp_path / "results").values())
    assert abs(first - second) < 1e-5  # float32
