"""Figures of the report: sizes and text on paper, equal bytes, short labels, and each of the defects that older figures had."""

import copy
import math
import re
import zlib

import altair
import pytest

from support.findings import ROPES, found_of, row

from reporting import build, charts, content, effects, figures, interactions, looks, markdown, scales
from reporting.content import Cell, Table, Text
from reporting.labels import MOST, shortened, within
from reporting.pareto import LINE, labelled, spread
from reporting.rows import read_csv
from reporting.tasks import positions


def figure_of(rows, tmp_path):
    return next(part for part in effects.metrics(found_of(rows, tmp_path)).parts if isinstance(part, figures.Figure))


def texts_of(value):
    """All texts of a specification that can be seen: titles, labels and the domains of scales."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("text", "title", "subtitle", "line", "edge", "label", "labels") and isinstance(inner, str):
                yield inner
            elif key == "domain" and isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, str))
            elif key != "values" or not isinstance(inner, list) or inner and isinstance(inner[0], dict):
                yield from texts_of(inner)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


@pytest.fixture
def wide(tmp_path):
    """A sweep whose labels are long: four schemes, five quantizers, four lengths."""
    quantizers = ["none", *(f"rtn W{bits} g64 symmetric=true zero=plain clip=0.9, rtn A8 per row symmetric=true clip={bits}" for bits in (2, 3, 4, 8))]
    return figure_of(
        [
            row(place, rope, quant, length, 30 + place / 10)
            for place, (rope, quant, length) in enumerate((rope, quant, length) for rope in ROPES for quant in quantizers for length in (512, 1024, 2048, 4096))
        ],
        tmp_path,
    )


def test_a_pdf_is_as_wide_as_a_column_or_two_and_its_text_has_8_points(wide):
    made = figures.files(wide, charts.template(wide.kind))
    for columns, centimetres in ((1, 8.5), (2, 17.8)):
        pdf = made[f"pdf/{wide.name}_{columns}.pdf"]
        box = [float(number) for number in re.search(rb"/MediaBox ?\[([^\]]+)\]", pdf)[1].split()]
        assert (box[2] - box[0]) / 72 * 2.54 == pytest.approx(centimetres, abs=0.02)
        svg = figures.drawn(wide, columns, charts.template(wide.kind))
        view, width = (float(re.search(pattern, svg)[1]) for pattern in (r'viewBox="0 0 ([\d.]+)', r'<svg[^>]* width="([\d.]+)"'))
        sizes = {float(size) * width / view for size in re.findall(r'font-size="([\d.]+)px"', svg)}
        assert sizes and all(7.6 <= size <= 8 for size in sizes), sizes  # scaled down by 5 % at most, where labels are wider than thought
        streams = [zlib.decompress(found) for found in re.findall(rb"FlateDecode[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)]
        assert any(b" Tf" in stream for stream in streams)  # letters, not outlines


def test_equal_figures_give_equal_bytes(wide):
    template = charts.template(wide.kind)
    assert figures.files(wide, template) == figures.files(copy.deepcopy(wide), template)


def test_every_specification_is_one_of_vega_lite(wide, tmp_path):
    listed = figure_of([row(number, "none", f"rtn W{number} g64") for number in range(3)], tmp_path)
    for figure in (wide, listed):
        whole = figures.on_paper(figure, 2, charts.template(figure.kind))
        for panel in whole.get("concat", [whole]):
            for layer in panel["layer"]:  # which the schema does not know, though Vega-Lite takes it
                for channel in ("shape", "color"):
                    (layer["encoding"].get(channel, {}).get("legend") or {}).pop("encoding", None)
        altair.Chart.from_dict(whole)


def test_no_label_is_longer_than_24_characters_joined_or_not(wide):
    seen = set(texts_of(figures.on_paper(wide, 2, charts.template(wide.kind))))
    assert {"yarn ×8", "window length (tokens)"} <= seen and max(map(len, seen)) <= MOST
    assert all(len(name) <= MOST for name in within({1: "a" * 30, 2: "b" * 30 + " · " + "c" * 30}).values())
    labels = [
        "rtn W4 g64",
        "rtn W4 g64 symmetric=true",
        "awq W4 g128 + awq W4 g64",
        "rtn W4 per row symmetric=true, rtn A4 per row symmetric=true clip=0.9",
        "none",
        "rtn W3 g64 in layers.*.mlp.*",
        "by_band edges=0 + 8 + 16 + 32 of=none + rtn W3 g64 + none",
        *(f"independent ×6 searched points={number} and a good deal more" for number in (3, 5)),
    ]
    short = shortened(labels)
    assert short[labels[3]] == "W4A4" and short[labels[2]] == "awq W4 g128" and short[labels[5]] == "W3 g64 in mlp" and short[labels[6]] == "W3 g64 8-16"
    assert len(set(short.values())) == len(labels) and max(map(len, short.values())) <= MOST


def test_a_scheme_has_its_colour_in_every_figure_and_schemes_of_one_type_their_dashes(wide, tmp_path):
    few = figure_of([row(number, rope, "none", 512, 30 + number) for number, rope in enumerate(("yarn ×8", "linear ×8"))], tmp_path)
    colors = [{entry["label"]: entry["color"] for entry in figure.legend["scheme"]} for figure in (wide, few)]
    assert colors[0].keys() == set(ROPES) and colors[1].items() <= colors[0].items()
    yarns = [entry for entry in wide.legend["scheme"] if entry["label"].startswith("yarn")]
    assert len({entry["color"] for entry in yarns}) == 1 and len({tuple(entry["dash"]) for entry in yarns}) == 2


def test_a_row_far_outside_stands_at_the_edge_with_its_number_and_squeezes_no_other(tmp_path):
    rows = [row(number, "none", f"rtn W{number} g64", 512, 0.1 + number / 50, reach=0.01) for number in range(6)] + [
        row(9, "none", "rtn W1 g64", 512, 9.0, reach=0.01)
    ]
    (panel,) = figure_of(rows, tmp_path).panels
    low, high = panel["scale"]["domain"]
    assert low <= 0.1 and 0.2 <= high < 1
    assert [point["edge"] for point in panel["points"] if point["edge"]] == ["↑ 9"] and max(point["shown"] for point in panel["points"]) == high
    for place, name in enumerate(("below", "above")):  # labels at one place of an edge would cover each other
        points = charts.edges_apart([{"x": 512, "value": (-1) ** (1 - place) * value, "shown": 0, "edge": "↑", "series": str(value)} for value in (7, 8)])
        assert [point["edge"] != "" for point in points] == [True, False] and "7" in points[0]["edge"] and "8" in points[0]["edge"], name


def test_ablations_lead_with_paired_differences(tmp_path):
    rows = [
        row(
            number,
            "yarn ×8",
            "rtn W3 g64",
            512,
            90 + number / 1000,
            reach=9,
            searched={"quantized, found g": {"difference": -0.01, "low": -0.012, "high": -0.008, "survives": True}},
        )
        | {"axes": {"rescale": {"type": "bands", "bands": number}}, "labels": {"rescale": f"bands ×{number}"}}
        for number in (2, 4, 16)
    ]
    figure = next(part for part in effects.searched(found_of(rows, tmp_path)) if isinstance(part, figures.Figure))
    (panel,) = figure.panels
    assert panel["scale"]["domain"][1] < 0.01 and all(point["high"] < 0 and point["full"] for point in panel["points"])
    assert figures.arrangement(figure, 2) == 1 and panel["lines"] == ["bands ×2", "bands ×4", "bands ×16"]


def test_labels_of_one_size_stand_apart_within_the_figure():
    places = spread([1, 1.01, 1.02, 1.9, 2.0], 0.2, 0.9, 2.0)
    assert all(right - left > 0.2 - 1e-9 for left, right in zip(places, places[1:])) and 0.9 <= places[0] and places[-1] <= 2.0
    found = labelled([(4.25, 2.0, 3), (4.3, 1.99, 5), (4.31, 1.98, 7), (16, 1.0, 1)], 0.9, 2.1, math.log(16 / 4.25))
    near = sorted(label["shown"] for label in found if label["label"] != "1")
    assert len(near) == 3 and all(right - left > LINE * 1.2 - 1e-9 for left, right in zip(near, near[1:]))


@pytest.mark.parametrize(
    "rows",
    [
        [row(1)],
        [row(1, value=math.inf, reach=None) | {"metrics": {"perplexity": {"value": None}}}],
        [row(1, reach=None), row(2, "yarn ×8", reach=None)],
        [row(1) | {"metrics": {}}, row(2, "yarn ×8")],
        [row(number, "yarn ×8", f"of_tomorrow {number}", length) for number in range(40) for length in (512, 1024)],
        [
            row(number, rope, "$points", length, 30 + number)
            for number, (rope, length) in enumerate((rope, length) for rope in ("$ink", "<b>&amp;", "a|b", "`c`") for length in (512, 1024))
        ],
    ],
    ids=["a single row", "infinite", "no intervals", "a row without a metric", "40 quantizers", "names that are markup"],
)
def test_rows_of_any_kind_are_drawn_or_said(rows, tmp_path):
    parts = effects.metrics(found_of(rows, tmp_path)).parts
    drawn = [part for part in parts if isinstance(part, figures.Figure)]
    assert drawn or any(isinstance(part, Text) for part in parts)
    for figure in drawn:
        svg = figures.drawn(figure, 1, charts.template(figure.kind))
        assert "NaN" not in svg and svg.count("<path") >= sum(len(panel["points"]) for panel in figure.panels)


def test_names_of_panels_leave_out_what_all_share_and_tell_apart_what_has_the_same_words_in_other_places():
    labels = [f"{text} · shared ×6 searched · {scheme} · {length} · {searched}"
              for text in ("books", "GAO") for scheme in ("linear", "YaRN") for length in (1024, 4096) for searched in ("bk", "GAO")]
    names = shortened(labels)
    assert names[labels[-1]] == "GAO YaRN 4096 GAO" and len(set(names.values())) == len(labels)
    assert not any("#" in name or "…" in name or len(name) > 24 for name in names.values())


def test_markdown_takes_words_for_words():
    hostile = "a|b `c` <img src=x> &lt; $x$ *d* __e__ [f](http://g) \\"
    text = markdown.render([markdown_section(Text(hostile), Table(["a", "b"], [("", [[hostile, Cell(hostile, code=True)]])]))])
    line = next(line for line in text.splitlines() if line.startswith("| a\\|b"))
    assert (
        len(re.findall(r"(?<!\\)\|", line)) == 3
        and "<img" not in text.replace("\\<img", "").split("``")[0]
        and "](" not in text.split("``")[0]
        and "\\$x\\$" in text
    )


def markdown_section(*parts):
    from reporting.content import Section

    return Section("head", "made", list(parts))


def test_a_table_of_many_rows_is_a_file_in_markdown_and_no_table():
    table = Table(["a", "b"], [("block", [[str(number), "=1+1"] for number in range(100)])], most=40, name="many")
    assert markdown.table(table) == ["[many.csv](many.csv) has the 100 rows.\n"]
    sections = [content.Section("a", "A", [table, content.Folded("f", [], content.Table(["a"], [("", [["1"]])], name="folded", most=0))])]
    assert [one.name for one in markdown.long_tables(sections)] == ["many", "folded"]
    assert markdown.csv_of(table).splitlines()[:2] == [",a,b", "block,0,'=1+1"]  # which no spreadsheet runs


def test_names_in_other_letters_have_a_file_each(tmp_path):
    rows = [row(number, rope) for number, rope in enumerate(("none", "yarn ×8"))]
    tasks = ("вопросы/acc", "質問/acc", "質 問/acc", "a" * 300 + "/acc")
    for one in rows:
        one["metrics"] = {task: {"value": 0.5, "low": 0.4, "high": 0.6, "count": 6} for task in tasks}
        one["texts"] = dict.fromkeys(tasks, "0.5")
    made = build.apart([effects.metrics(found_of(rows, tmp_path)), content.Section("f", "F", [content.Folded("f", [], Table(["a"], [], name="acc"))])])
    drawn, tables = ([part for part in made[0].parts if isinstance(part, kind)] for kind in (figures.Figure, Table))
    assert [figure.title for figure in drawn] == list(tasks) and [figure.name for figure in drawn[:3]] == ["acc", "acc_2", "acc_3"]
    assert [table.name for table in tables] == [figure.name for figure in drawn] and made[1].parts[0].table.name == "acc_4"
    assert max(len(figure.name) for figure in drawn) <= 100


def test_a_curve_that_show_does_not_have_is_not_drawn(tmp_path):
    one = row(1) | {"curve": {}}
    (tmp_path / "cells" / one["id"] / "metrics").mkdir(parents=True)
    (tmp_path / "cells" / one["id"] / "metrics/nll_by_position.csv").write_text("begin,end,tokens\n0,8,9\n", encoding="utf-8")
    other = row(2, "yarn ×8", "rtn W4 g64") | {"curve": {"nll_by_position/0-8": {"value": 3.0, "low": 2.0, "high": 4.0}}}
    (tmp_path / "cells" / other["id"] / "metrics").mkdir(parents=True)
    (tmp_path / "cells" / other["id"] / "metrics/nll_by_position.csv").write_text("begin,end,tokens\n0,8,9\n", encoding="utf-8")
    (figure,) = positions(found_of([one, other], tmp_path)).parts
    assert [point["value"] for panel in figure.panels for point in panel["points"]] == [3.0]


def test_a_damaged_table_is_one_line_with_its_path(tmp_path):
    file = tmp_path / "phase.csv"
    for content, said in (
        ("a,b\n1,2\n", "has no column 'pair'"),
        ("pair\nx\n", "is not the table that the program writes"),
        ("pair\n\x00\n", "is not the table"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(SystemExit, match=re.escape(str(file))) as ended:
            read_csv(file, lambda lines: [int(line["pair"]) for line in lines])
        assert said in str(ended.value) and "\n" not in str(ended.value)


def test_a_named_scheme_has_the_colour_of_its_type(tmp_path):
    rows = [row(number, "NTK" if number else "YaRN", "none", 512, 30 + number) for number in range(2)]
    for one, kind in zip(rows, ("yarn", "ntk")):
        one["axes"]["rope"] = {"type": kind, "factor": 8, "name": one["labels"]["rope"]}
    colors = {entry["label"]: entry["color"] for entry in figure_of(rows, tmp_path).legend["scheme"]}
    assert colors == {"YaRN": looks.COLORS["yarn"], "NTK": looks.COLORS["ntk"]}


def test_what_the_length_tells_makes_no_panels(tmp_path):
    """Texts that are padded to each length: "2048 2048 2048" would be the title of a panel with one point."""
    rows = [row(length + (rope == "none"), rope, "none", length, 30 + length / 1000) for length in (2048, 4096) for rope in ("none", "yarn ×8")]
    for one in rows:
        length = one["axes"]["windows.length"]
        one["axes"]["tasks"], one["labels"]["tasks"] = [{"pad": {"tokens": length}}], f"arc padded to {length} + boolq padded to {length}"
    (panel,) = figure_of(rows, tmp_path).panels
    assert len(panel["points"]) == 4 and panel["title"] == "" and not any("padded" in point["what"] for point in panel["points"])


def test_points_beside_each_other_stand_within_the_axis_and_rounding_errors_do_not_fill_one(tmp_path):
    rows = [row(10 * number + (length > 512), "none", f"rtn W{number} g64", length, 30 + number) for number in range(6) for length in (512, 4096)]
    (panel,) = figure_of(rows, tmp_path).panels
    first, last = panel["x_scale"]["domain"]
    assert all(first < point["at"] < last for point in panel["points"])
    low, high = scales.limits([{"value": 2e-8, "low": -1e-8, "high": 4e-8}], 0, scales.LINEAR)
    assert low <= -scales.LEAST / 2 and high >= scales.LEAST


def test_an_interaction_that_cannot_be_computed_says_why(tmp_path):
    found = found_of([row(1), row(2, "yarn ×8")], tmp_path)
    vars(found)["interactions"] = {("rope", "quant"): "--interaction rope,quant: no row has both"}
    (said,) = interactions.interactions(found).parts
    assert said == Text("Interaction of rope and quant: none. --interaction rope,quant: no row has both")
