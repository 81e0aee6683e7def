"""A figure: one Vega-Lite specification whose panels differ in what fills its "$places", such as "$points" and "$y_title".

The page fills them with its own colours, width and legend; here they are filled for paper: NAME.png and NAME.svg for report.md, and pdf/NAME_1.pdf
and NAME_2.pdf, as wide as one and two columns of a paper, with a legend of their own and 8 pt text."""

import re
from dataclasses import dataclass, field
from functools import cache

import altair
import vl_convert

from .labels import widest

MOST = 40  # panels
WIDTHS = {1: 8.5 / 2.54 * 72, 2: 17.8 / 2.54 * 72}  # points
TEXT = 8
GAP = 10
LINE_AXIS = {"title": None, "labelLimit": 170, "grid": False, "ticks": False, "domain": False}
MARKER = {"symbols": {"stroke": {"value": "#1a1a1a"}, "fill": {"value": "transparent"}}}  # of a legend; in figures markers have the colour of schemes
DASH = {"symbolType": "M-2,0H2", "symbolOffset": 3, "labelOffset": 7}  # as high as a marker, so that legends beside each other stand in line
INK, PAPER, QUIET = "#1a1a1a", "#ffffff", "#8a8a8a"
CONFIG = {
    "background": PAPER,
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "padding": 2,
    "view": {"stroke": None},
    "concat": {"spacing": GAP},
    "axis": {
        "labelFontSize": TEXT,
        "titleFontSize": TEXT,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": "#e4e4e4",
        "gridWidth": 0.5,
        "domainColor": QUIET,
        "tickColor": QUIET,
        "domainWidth": 0.5,
        "tickWidth": 0.5,
        "tickSize": 2.5,
        "labelPadding": 2,
        "titlePadding": 3,
    },
    "title": {
        "fontSize": TEXT,
        "subtitleFontSize": TEXT,
        "fontWeight": "normal",
        "anchor": "start",
        "offset": 3,
        "color": INK,
        "subtitleColor": "#555555",
        "subtitlePadding": 2,
    },
    "legend": {
        "labelFontSize": TEXT,
        "titleFontSize": TEXT,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "title": None,
        "orient": "top",
        "symbolSize": 40,
        "rowPadding": 1,
        "columnPadding": 8,
        "labelLimit": 200,
        "symbolStrokeWidth": 1.2,
        "offset": 6,
        "gradientThickness": 7,
        "gradientLength": 120,
    },
    "point": {"strokeWidth": 0.9},
    "line": {"strokeWidth": 1},
    "rule": {"strokeWidth": 0.7},
    "text": {"fontSize": TEXT},
}


@dataclass
class Figure:
    name: str  # of its files
    title: str
    note: str
    kind: str  # of the specification (charts.template)
    panels: list  # of {place: filling}, with "title" and "unit", a line each above the panel
    unit: str = ""  # what all panels show; said once
    legend: dict = field(default_factory=dict)  # {"scheme": [{label, color, dash}], "quantizer": [{label, shape}]}
    common: dict = field(default_factory=dict)  # fillings that the panels share
    columns: int = 0  # panels beside each other on wide paper; 0: what is usual for their number
    left: float = 26  # room for labels left of a panel
    step: float = 0  # height of a line where there are labels
    height: float = 0  # of a panel on paper, where it is not the usual one

    def names(self):
        """Returns what stands in the figure beside its axes: titles of panels, labels of lines, the legend."""
        entries = [entry["label"] for kind in self.legend.values() for entry in kind]
        return {self.unit, *entries, *(name for panel in self.panels for name in [panel["title"], *panel.get("lines", [])])}


def filled(template, values):
    """Returns a specification with its "$places" filled, as the page does (page.js).  What fills a place is not looked into: it is not ours."""
    if isinstance(template, str) and template.startswith("$"):
        return values[template[1:]]
    if isinstance(template, dict):
        return {key: filled(value, values) for key, value in template.items()}
    return [filled(one, values) for one in template] if isinstance(template, list) else template


def version():
    """Returns the version of Vega-Lite, of which vl-convert has several, that altair writes."""
    return ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def legend_of(entries, width, **more):
    """Returns the legend on paper; None where a single entry tells nothing."""
    if len(entries) < 2:
        return None
    room = 24 + max(widest([entry["label"]], TEXT) for entry in entries)
    return {"columns": max(1, min(len(entries), int(width // room))), **more}


def arrangement(figure, paper):
    """Returns how many panels stand beside each other on paper of one or two columns."""
    count = len(figure.panels)
    if paper == 1:
        return min(count, 1 if figure.left > 60 else 2)
    usual = figure.columns or {1: 1, 2: 2, 3: 3, 4: 2}.get(count, 3 if count < 7 else 4)
    return min(count, usual, 2 if figure.left > 60 else usual)


def on_paper(figure, paper, template):
    """Returns the whole figure as one specification, (very nearly) as wide as one or two columns of a paper."""
    width, count, beside = WIDTHS[paper], len(figure.panels), arrangement(figure, paper)
    plot = (width - 8 - GAP * (beside - 1)) / beside - figure.left
    height = {"step": figure.step, "for": "position"} if figure.step else figure.height or (150 if beside == 1 and paper == 2 else 115 if beside < 3 else 95)
    values = {
        "ink": INK,
        "paper": PAPER,
        "quiet": QUIET,
        "opacity": 1,
        "marker_size": {"expr": "datum.marked ? 18 : 3"},
        "arrow_size": 14,
        "width": plot,
        "height": height,
        "line_axis": LINE_AXIS | {"minExtent": figure.left},
        "scheme_legend": legend_of(figure.legend.get("scheme", []), width - 30, symbolOpacity=1, **DASH),
        "quantizer_legend": legend_of(figure.legend.get("quantizer", []), width - 30, encoding=MARKER),
    } | figure.common
    panels = []
    for number, panel in enumerate(figure.panels):
        below = figure.panels[number + beside] if number + beside < count else panel
        title = {"text": panel["title"], "subtitle": panel["unit"]} if panel["title"] and panel["unit"] else panel["title"] or panel["unit"] or None
        own = values | panel | {"title": title, "axis": panel["axis"] if figure.step else panel["axis"] | {"minExtent": figure.left - 4}}
        if below is not panel and below.get("x_axis") == panel.get("x_axis") and "x_axis" in panel:
            own["x_axis"] = panel["x_axis"] | {"title": None}
        panels.append(filled(template, own))
    whole = {"concat": panels, "columns": beside} if count > 1 else panels[0]
    if figure.unit:
        own = whole.get("title") if count == 1 else None
        whole["title"] = {"text": own, "subtitle": figure.unit} if own else {"text": figure.unit, "color": "#555555"}
    return {"$schema": f"https://vega.github.io/schema/vega-lite/v{version().split('.')[0]}.json", "config": CONFIG, **whole}


@cache
def _size(number):
    return re.compile(rf'(<svg[^>]*?{number}=")([\d.]+)(")')


def drawn(figure, paper, template):
    """Returns an SVG that is exactly as wide as a column or two of a paper: what the labels take more or less than thought is added or scaled away."""
    svg = vl_convert.vegalite_to_svg(on_paper(figure, paper, template), vl_version=version())
    width, height = (float(_size(side).search(svg)[2]) for side in ("width", "height"))
    target = WIDTHS[paper]
    scale = min(1.0, target / width)
    box = f'viewBox="0 0 {target / scale:.2f} {height:g}"'
    svg = re.sub(r'viewBox="[^"]*"', box, svg, count=1)
    svg = _size("width").sub(rf"\g<1>{target:.2f}\g<3>", svg, count=1)
    svg = _size("height").sub(rf"\g<1>{height * scale:.2f}\g<3>", svg, count=1)
    return re.sub(r'<rect width="[\d.]+"', f'<rect width="{target / scale:.2f}"', svg, count=1)  # the background


def pdf_of(svg):
    """Returns a PDF whose resources stand in order: vl-convert lists them in any.  (The order of several fonts could not be mended here: figures have one.)"""
    in_order = lambda found: b"".join(sorted(re.findall(rb"\n +/\w+ \d+ 0 R", found[0])))  # noqa: E731
    return re.sub(rb"(?:\n +/\w+ \d+ 0 R)+", in_order, vl_convert.svg_to_pdf(svg))


def files(figure, template):
    """Returns {path: bytes} of a figure: equal figures give equal bytes."""
    narrow, wide = drawn(figure, 1, template), drawn(figure, 2, template)
    in_points = _size("height").sub(r"\g<1>\g<2>pt\g<3>", _size("width").sub(r"\g<1>\g<2>pt\g<3>", wide, count=1), count=1)
    return {
        f"{figure.name}.png": vl_convert.svg_to_png(wide, scale=2),
        f"{figure.name}.svg": in_points.encode(),
        f"pdf/{figure.name}_1.pdf": pdf_of(narrow),
        f"pdf/{figure.name}_2.pdf": pdf_of(wide),
    }
