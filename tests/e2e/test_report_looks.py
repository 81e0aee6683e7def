"""What a report's figures owe whoever reads two of them: one marker a quantizer, axes that fit and say what they cut, points at their numbers."""
import re
from pathlib import Path

import pytest

from support.findings import found_of, row

from reporting import charts, effects, figures, interactions, looks, page, pareto, scales, tables
from reporting.axes import Layout
from reporting.configured import label_of, name_blocks, number_at
from reporting.content import Table
from reporting.diagnostics import points_of
from reporting.labels import shortened, within
from reporting.points import quantizer_of, scheme_of
from reporting.rows import compared, measured, metric_title, said
from reporting.tasks import positions

W3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64, "symmetric": False, "clip": 1.0}, "input": {"type": "none"}}]
CACHE = {"type": "fake_quant", "key": {"type": "rtn", "bits": 4, "group": 0}, "value": {"type": "rtn", "bits": 4, "group": 0}}


def figure_of(parts):
    return next(part for part in parts if isinstance(part, figures.Figure))


def markers_of(rows, tmp_path):
    return {entry["label"]: entry["shape"] for entry in figure_of(effects.metrics(found_of(rows, tmp_path)).parts).legend["quantizer"]}


def test_a_quantizer_has_its_marker_whatever_else_a_report_has(tmp_path):
    many = ["none", "rtn W8 g64", "awq W4 g64", "rtn W3 g64", "rtn W4 g64"]
    first, second = (markers_of([row(place, "none", quant, length) for place, quant in enumerate(names) for length in (512, 1024)], tmp_path)
                     for names in (many, ["none", "rtn W4 g64"]))
    assert second.items() <= first.items() and len(set(first.values())) == len(many)
    two = looks.shapes_of({"rtn W4 g64": "rtn W4 g64", "rtn W4 g128": "rtn W4 g128", "none": "none"})
    assert len(set(two.values())) == 3 and two["rtn W4 g64"] == looks.SHAPES["square"] and two["none"] == looks.SHAPES["circle"]


def test_a_quantizer_that_no_axis_sweeps_is_named_by_the_configuration(tmp_path):
    rows = [row(number, rope) for number, rope in enumerate(("none", "yarn ×8"))]
    for one in rows:
        del one["axes"]["quant"], one["labels"]["quant"]
        one["config"] |= {"quant": W3, "kv": CACHE}
    assert {quantizer_of(one) for one in name_blocks(rows)} == {"rtn W3 g64 + fake_quant key=rtn K4 per row value=rtn V4 per row"}
    parts = effects.metrics(found_of(rows, tmp_path)).parts
    table = next(part for part in parts if isinstance(part, Table))
    assert all(line[0].startswith("rtn W3 g64") for line in table.rows())
    named = rows[0] | {"labels": rows[0]["labels"] | {"quant": "mine"}, "axes": rows[0]["axes"] | {"quant": W3}}
    assert quantizer_of(name_blocks([named, rows[1]])[1]).startswith("mine")  # as the row with the same configuration
    assert label_of({"type": "yarn", "factor": 8.0}) == "yarn ×8" and label_of([]) == label_of(None) == "none"
    rows[1]["labels"].pop("rope")
    rows[1]["environment"]["rope"] = {"type": "ntk", "factor": 2.0}
    assert scheme_of(name_blocks(rows)[1]) == "ntk ×2"


def test_a_row_of_a_block_that_does_not_sweep_lengths_stands_at_its_own(tmp_path):
    rows = [row(number, length=length) for number, length in enumerate((512, 4096, 4096))]
    del rows[2]["axes"]["windows.length"], rows[2]["labels"]["windows.length"]
    rows[2]["config"]["windows"] = {"length": 4096}
    layout = Layout(rows)
    assert layout.x.numbers == {"512": 512, "4096": 4096} and layout.x.of(rows[2]) == "4096"
    (panel,) = figure_of(effects.metrics(found_of(rows, tmp_path)).parts).panels
    assert [point["x"] for point in panel["points"]] == [512, 4096, 4096]
    del rows[2]["config"]["windows"]
    assert Layout(rows).x is None and number_at({"a": {"b": True}}, "a.b") is None


def points_with(reaches):
    return [{"value": float(place), "low": place - reach, "high": place + reach} for place, reach in enumerate(reaches)]


def test_an_interval_much_wider_than_others_is_cut_and_marked_and_the_others_fit(tmp_path):
    points = points_with([0.5, 0.6, 0.7, 90])
    low, high = scales.limits(points, None, scales.LINEAR)
    assert low < -0.5 and 2.7 < high < 20
    shown = [scales.clamped(point, low, high, "") for point in points]
    assert [(point.get("below"), point.get("above")) for point in shown] == [(None, None)] * 3 + [(True, True)]
    wide = points_with([30, 31, 32, 33])  # all of them: then all fit
    low, high = scales.limits(wide, None, scales.LINEAR)
    assert low < -30 and high > 36
    magnitude = scales.clamped({"value": 1.0, "low": -2.0, "high": 3.0}, 0.1, 9.0, "")  # below what a logarithmic axis has
    assert magnitude["below"] and magnitude["from"] == 0.1 and "above" not in magnitude
    heads = [layer for layer in charts.template("lines")["layer"] if layer["mark"].get("shape") in ("triangle-up", "triangle-down")]
    assert [layer["transform"][0]["filter"] for layer in heads] == ["datum.below", "datum.above"]
    notes = [figure_of(effects.metrics(found_of([row(number, length=512 * 2**number, reach=reach) for number, reach in enumerate(reaches)], tmp_path)).parts).note
             for reaches in ([1, 1, 1, 25], [1, 1, 1, 2])]
    assert ["Arrow heads" in note for note in notes] == [True, False]


def test_a_perplexity_of_thousands_does_not_squeeze_those_of_tens():
    points = [{"value": value, "low": value / 1.2, "high": value * 1.2} for value in (25, 26, 29, 30, 31, 35, 44, 50, 53, 75, 256, 7485)]
    low, high = scales.limits(points, None, scales.LOG)
    assert low < 25 / 1.2 and 256 < high < 1000
    assert scales.clamped(points[-1], low, high, "")["edge"] == "↑ 7485"


@pytest.mark.parametrize(("across", "lines", "most"), [([512, 4096], 2, 0.03), ([1, 2, 3, 4], 12, 0.0501), ([4096], 2, 0.11)])
def test_points_beside_each_other_stay_near_their_number(across, lines, most):
    ends = (across[0] - 1, across[-1] + 1)
    points = [{"x": x, "series": str(line)} for x in across for line in range(lines)]
    moved = scales.dodged(points, across, scales.LINEAR, ends)
    assert 0 < max(abs(point["at"] - point["x"]) for point in moved) <= most * (ends[1] - ends[0]) / 2
    assert len({(point["x"], point["at"]) for point in moved}) == len(points)


def sized(number, quant, bits, value):
    return row(number, "none", quant, 512, value) | {"bits_per_weight": bits}


def test_loss_against_size_has_every_point_at_its_size_and_labels_within_the_axis(tmp_path):
    rows = [sized(1, "rtn W3 g64", 3.3, 31.0), sized(2, "rtn W4 g64", 4.3, 30.2), sized(3, "awq W4 g64", 4.3, 30.0), sized(4, "none", 16, 29.9)]
    found = found_of(rows, tmp_path)
    (panel,) = figure_of(pareto.pareto(found).parts).panels
    low, high = panel["scale"]["domain"]
    assert all(point["at"] == point["x"] for point in panel["points"]) and all(low < label["shown"] < high for label in panel["labels"])
    assert panel["x_axis"]["title"] == "bits per weight" and all(len(title) <= 24 for title in pareto.AXES.values())


def test_zero_has_its_place_among_magnitudes_and_lines_have_no_gaps():
    points = points_of({}, {0: 0.0, 1: 4.0, 2: 1000.0}, positive=True)
    assert [point["value"] for point in points] == [0, 4, 1000] and not points_of({}, {0: 0.0, 1: (0.0, 0.0, 0.0)}, positive=True)
    scale = scales.fitting([0.0, 4.0, 1000.0], None, scales.REACH, zeros=True)
    low, high = scales.limits(points, None, scale)
    assert scale.kind == "symlog" and low < 0 < scale.into(4) - scale.into(0) and 0 in scales.value_axis(low, high, None, scale)["axis"]["values"]
    assert scale.back(scale.into(7.5)) == pytest.approx(7.5)
    assert scales.fitting([0.0, 4.0, 1000.0], None, scales.REACH, zeros=False) is scales.LINEAR and scales.fitting([1, 40], None, 8, True) is scales.LOG


def test_panels_beside_each_other_share_an_axis_along_x_unless_it_squeezes_them():
    panel = lambda numbers: [{"x": x} for x in numbers]  # noqa: E731
    panels = [panel([512, 4096]), panel([4096]), panel([32, 64])]
    assert charts.numbers_across(panels[1], panels, scales.LINEAR) == [32, 64, 512, 4096]
    assert charts.numbers_across(panels[2], panels, scales.LINEAR) == [32, 64]


def test_markers_stand_at_the_height_of_their_labels(tmp_path):
    rows = [row(number, rope) for number, rope in enumerate(("linear ×8", "yarn ×8"))]
    for one in rows:
        del one["axes"]["windows.length"], one["labels"]["windows.length"]
    figure = figure_of(effects.metrics(found_of(rows, tmp_path)).parts)
    assert figure.kind == "beside" and figure.panels[0]["slots"] == [""] and figure.step == 11
    svg = figures.drawn(figure, 2, charts.template("beside"))
    box, background = (re.search(pattern, svg)[1] for pattern in (r'viewBox="0 0 ([\d.]+)', r'<rect width="([\d.]+)"'))
    assert box == background  # no strip beside it


def test_a_line_of_several_points_is_as_high_as_they_need(tmp_path):
    rows = [row(number, rope, quant) for number, (rope, quant) in enumerate((rope, quant) for rope in ("linear ×8", "yarn ×8") for quant in ("none", "W4"))]
    for one in rows:
        del one["axes"]["windows.length"], one["labels"]["windows.length"]
    figure = figure_of(effects.metrics(found_of(rows, tmp_path)).parts)
    assert figure.panels[0]["lines"] == ["none", "W4"] and len(figure.panels[0]["slots"]) == 2
    height = float(re.search(r'<svg[^>]* height="([\d.]+)"', figures.drawn(figure, 2, charts.template("beside")))[1])
    assert height < 60 + 2 * figure.step


def test_many_panels_of_few_lengths_are_lines_of_one_panel_a_length(tmp_path):
    quantizers = ["none", *(f"rtn W{bits} g{group}" for bits in (2, 3, 4) for group in (32, 64))]
    ropes = lambda quant: ("yarn ×8",) if quant == "none" else ("yarn ×4", "yarn ×8", "none")  # noqa: E731
    kinds = [(rope, quant, length) for quant in quantizers for rope in ropes(quant) for length in (512, 4096)]
    rows = [row(number, *kind, 30 + number / 100, reach=0.1) for number, kind in enumerate(kinds)]
    figure = figure_of(effects.metrics(found_of(rows, tmp_path)).parts)
    assert [panel["title"] for panel in figure.panels] == ["512 tokens", "4096 tokens"] and figure.kind == "beside"
    (panel, _) = figure.panels
    assert len(panel["lines"]) == 7 and panel["slots"] == ["none", "yarn ×4", "yarn ×8"]
    assert [point["slot"] for point in panel["points"] if point["line"] == "none"] == ["yarn ×4"]  # alone, at the height of its label
    assert figure.step == 18 and charts.template("beside")["layer"][1]["encoding"]["strokeDash"]["field"] == "scheme"  # which tells schemes of one type apart
    rows[-1]["metrics"]["perplexity"] |= {"value": 900.0, "low": 899.0, "high": 901.0}
    assert figure_of(effects.metrics(found_of(rows, tmp_path)).parts).step == 27  # a number stands at the edge


def test_of_many_curves_by_position_those_of_the_longest_windows_are_drawn(tmp_path):
    rows = []
    for number, (quant, length) in enumerate((quant, length) for quant in range(7) for length in (512, 4096)):
        for place, rope in enumerate(("none", "yarn ×8")):
            one = row(2 * number + place, rope, f"rtn W{quant} g64", length) | {"curve": {"nll_by_position/0-8": {"value": 3.0, "low": 2.0, "high": 4.0}}}
            one["config"]["windows"] = {"length": length}
            (tmp_path / "cells" / one["id"] / "metrics").mkdir(parents=True)
            (tmp_path / "cells" / one["id"] / "metrics/nll_by_position.csv").write_text("begin,end,tokens\n0,8,9\n", encoding="utf-8")
            rows.append(one)
    (figure,) = positions(found_of(rows, tmp_path)).parts
    assert [panel["title"] for panel in figure.panels] == [f"W{quant} g64" for quant in range(7)] and "In windows of 4096 tokens, the longest" in figure.note
    (figure,) = positions(found_of(rows[:8], tmp_path)).parts
    assert len(figure.panels) == 4 and "longest" not in figure.note


def test_names_keep_the_part_that_tells():
    labels = [f"W3 g64 · {variant} ×6 searched{guide}" for variant in ("shared", "independent") for guide in ("", " · guide=pressure", " · guide=sensitivity")]
    names = list(shortened(["W3 g64", *labels]).values())
    assert len(set(names)) == 7 and not any("#" in name or "…" in name for name in names)
    for name, label in zip(names[1:], labels):
        assert label.split()[3] in name and ("guide" not in label or label.rpartition("=")[2] in name)
    folds = within({0: "W3 g64 · shared ×6 searched", 1: "W4 g64 · shared ×6 searched", 2: "W3 g64 · shared ×6 searched · folds=4"})
    assert "folds=4" in folds[2]


def test_the_table_of_names_has_those_that_figures_show(tmp_path):
    found = found_of([row(number, "none", quant) for number, quant in enumerate(("rtn W3 g64 zero=plain", "rtn W4 g64 zero=plain"))], tmp_path)
    found.places.titles([("", "", "a long and winding name of no figure"), ("", "", "another")])
    (table,) = tables.names(found, [effects.metrics(found)]).parts
    assert [line[0] for line in table.rows()] == ["W3 g64", "W4 g64"]


def test_a_metric_has_the_digits_that_its_interval_knows_and_its_unit():
    assert measured({"value": 62.567, "low": 28.301, "high": 138.32}, "") == "62.6 [28.3, 138.3]"
    assert measured({"value": 30.2, "low": 30.1, "high": 30.3}, "") == "30.20 [30.10, 30.30]"
    assert measured({"value": 30.2, "low": 30.14, "high": 30.26}, "") == "30.200 [30.140, 30.260]"  # two digits of the half, 0.060
    assert measured({"value": 30.2, "low": None, "high": None}, "30.2") == "30.2"
    assert metric_title("nll_last_256") == "NLL, last 256 (nats)" and metric_title("passkey/accuracy") == "accuracy"


def test_effects_of_rows_that_computed_the_same_are_no_comparisons():
    same, other = {"difference": 0.0, "stderr": 0.0, "p_value": None}, {"difference": 0.0, "stderr": 0.1, "p_value": 1.0, "low": -0.2, "high": 0.2}
    assert compared([same, other, {"difference": 0.1, "p_value": None}]) == [other]
    assert (said(same), said(other)) == ("equal", "+0.0000 [-0.2000, +0.2000]")


def test_what_could_have_been_found_is_said_from_the_smallest_to_the_largest():
    entries = [(None, {"detectable": size}, "") for size in (0.03, None, 0.01, 0.02)]
    assert effects.smallest(entries) == "Smallest effects that are found with a probability of 80 %: 0.0100 to 0.0300. "
    assert effects.smallest(entries[1:2]) == ""


def test_an_interaction_is_shown_by_position_too(tmp_path):
    rows = [row(1, "none"), row(2, "yarn ×8", "rtn W4 g64")]
    for one in rows:
        one["config"]["windows"] = {"length": 512}
    effect = {"id": rows[1]["id"], "metric": "nll", "between": {"rope": "none", "quant": "none"}, "value": 0.02, "low": 0.01, "high": 0.03, "stderr": 0.004,
              "p_value": 0.01, "survives": True, "clusters": 8, "detectable": 0.01}
    found = found_of(rows, tmp_path)
    parts = [effect | {"positions": [first, first + 256], "value": value} for first, value in ((0, 0.01), (256, 0.04))]
    vars(found)["interactions"] = {("rope", "quant"): [effect, *parts]}
    made = interactions.interactions(found).parts
    figure = next(part for part in made if isinstance(part, figures.Figure) and part.name == "interaction_quant_by_position")
    assert [(point["x"], point["value"]) for point in figure.panels[0]["points"]] == [(128, 0.01), (384, 0.04)]
    table = next(part for part in made if isinstance(part, Table) and part.name == "interaction_quant_by_position_512")
    assert table.columns[2:] == ["0 to 256", "256 to 512"] and table.rows()[0][3].text == "+0.0400 [+0.0100, +0.0300]*"


def test_the_script_of_reports_is_put_together_once_and_without_a_cache_each_time(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(page.vl_convert, "javascript_bundle", lambda **_: made.append(1) or "vega")
    for cache, times in ((tmp_path, 1), (Path("/proc/nowhere"), 3)):
        monkeypatch.setenv("QROAR_CACHE", str(cache))
        assert [page.vega_script(), page.vega_script()] == ["vega", "vega"] and len(made) == times
    (kept,) = (tmp_path / "reports").iterdir()
    kept.write_text(kept.read_text(encoding="utf-8").replace("vega", "vegb"), encoding="utf-8")
    monkeypatch.setenv("QROAR_CACHE", str(tmp_path))
    assert page.vega_script() == "vega" and len(made) == 4
