"""The numbers that the papers' claims are judged by, of rows and tables made by hand."""
import math
import sys

import pytest

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
from paper_effects import Target, Unknown, effect_of  # noqa: E402


def effect(value, reach):
    return {"value": value, "low": value - reach, "high": value + reach, "p_value": 0.5}


def test_a_mean_over_benchmarks_is_in_per_cent(tmp_path):
    rows = [{"id": "0", "axes": {"quant": 0}, "metrics": {"a/acc": effect(0.5, 0.1), "b/acc": effect(0.7, 0.1)}}]
    found = effect_of({"compare": "value", "row": {"quant": 0}, "metrics": ["a/acc", "b/acc"]}, Target("t", tmp_path, lambda *_: rows))
    assert (found.value, found.low) == (pytest.approx(60), pytest.approx(60 - 10 * math.sqrt(2) / 2))


def test_each_side_of_a_mean_over_benchmarks_has_a_reach_of_its_own(tmp_path):
    rows = [{"id": "0", "axes": {"quant": 0}, "metrics": {name: {"value": 0.5, "low": 0.4, "high": 0.8} for name in ("a/acc", "b/acc")}}]
    found = effect_of({"compare": "value", "row": {"quant": 0}, "metrics": ["a/acc", "b/acc"]}, Target("t", tmp_path, lambda *_: rows))
    assert (found.low, found.high) == (pytest.approx(50 - 10 * math.sqrt(2) / 2), pytest.approx(50 + 30 * math.sqrt(2) / 2))


def test_a_row_that_is_not_the_only_one_is_no_row(tmp_path):
    rows = [{"id": seed, "axes": {"quant": 0, "seed": seed}, "metrics": {"nll": effect(1, 0)}} for seed in (1, 2)]
    with pytest.raises(Unknown, match="t has several rows"):
        Target("t", tmp_path, lambda *_: rows).find({"quant": 0})
    fewest = {"id": 3, "axes": {"quant": 0}}
    assert Target("t", tmp_path, lambda *_: [*rows, fewest]).find({"quant": 0}) == fewest


def test_what_an_interaction_grows_by_in_a_window_is_its_last_part_less_its_first(tmp_path):
    rows = [{"id": f"{length}", "axes": {"quant": 4, "windows.length": length}, "labels": {"quant": "W4", "windows.length": f"{length}"}} for length in (512, 1024)]
    parts = {512: ((None, 7.0), ((0, 256), 1.0), ((256, 512), 5.0)), 1024: (((0, 512), 2.0), ((512, 1024), 9.0))}
    entries = [{**row, "metric": "nll", **effect(value, 0.5), **({"positions": list(place)} if place else {})}
               for row in rows for place, value in parts[row["axes"]["windows.length"]]]
    target = Target("t", tmp_path, lambda _, *options: entries if options else rows)
    claim = {"compare": "interaction", "row": {"quant": 4, "windows.length": 512}, "between": {"quant": 4, "windows.length": 512}}
    assert effect_of(claim, target).value == 7
    for position, value in (("first", 1), ("last", 5)):
        assert effect_of(claim | {"position": position}, target).value == value
    grown = effect_of(claim | {"position": "last", "less": {"position": "first"}}, target)
    assert (grown.value, grown.low, grown.high) == (4, 3, 5)


def test_a_place_is_apart_from_that_of_another_row_where_their_intervals_have_nothing_in_common(tmp_path):
    mine, other = ((0, 1), (2, 3), (0, 1), (1, 3)), ((2, 3), (0, 1), (0.5, 2), (0, 2))  # below, above, and two that overlap
    for cell, intervals in (("mine", mine), ("other", other)):
        folder = tmp_path / "cells" / cell / "diagnostics"
        folder.mkdir(parents=True)
        lines = [f"{layer},0,{low},{high}" for layer, (low, high) in enumerate(intervals)]
        (folder / "counts.csv").write_text("\n".join(["layer,band,share_low,share_high", *lines]) + "\n", encoding="utf-8")
    rows = [{"id": cell, "axes": {"rope": cell}} for cell in ("mine", "other")]
    claim = {"compare": "places", "table": "counts", "column": "share", "where": {"band": "0"}, "row": {"rope": "mine"}, "against": {"rope": "other"}}
    found = effect_of(claim, Target("t", tmp_path, lambda *_: rows))
    assert (found.apart, found.known, found.value) == (2, 4, 0.5)
