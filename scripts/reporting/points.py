"""Where rows stand in figures and tables: by scheme (colour), quantizer (marker), length (x), and everything else (panels)."""

from .axes import Layout, joined
from .labels import joined_within, shortened, unlike

SCHEME, QUANTIZERS = "rope", ("quant", "kv", "rotation")
# Okabe & Ito's colours; full contrast is for no interpolation.  A scheme has its colour in every report.
COLORS = {
    "none": "#6E6E6E",
    "model": "#5B6BB0",
    "linear": "#D55E00",
    "ntk": "#0086D1",
    "yarn": "#009E73",
    "dynamic_ntk": "#56B4E9",
    "ntk_by_parts": "#E69F00",
    "dynamic_yarn": "#CC79A7",
    "longrope": "#9F6BD6",
    "llama3": "#A0743C",
}
OTHER = "#B0A000"  # a scheme of tomorrow
# Vega's paths within -1..1.
SHAPES = [
    "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.1L1.05,.8H-1.05Z",
    "M0,-1.2L1,0L0,1.2L-1,0Z",
    "M0,1.1L1.05,-.8H-1.05Z",
    "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z",
    "M1.1,0L-.8,1.05V-1.05Z",
    "M-1.1,0L.8,1.05V-1.05Z",
    "M-.5,-1H.5L1,0L.5,1H-.5L-1,0Z",
    "M0,-1.1L1.1,-.2L.65,1H-.65L-1.1,-.2Z",
    "M-1,-.5H1V.5H-1Z",
    "M-.5,-1H.5V1H-.5Z",
]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]]


def scheme_of(row):
    if SCHEME in row["labels"]:
        return row["labels"][SCHEME]
    rope = row["environment"].get("rope") or row["config"].get("rope")
    if not isinstance(rope, dict) or "type" not in rope:
        return str(rope or "unknown")
    return rope["type"] + (f" ×{rope['factor']:g}" if isinstance(rope.get("factor"), (int, float)) else "")


def type_of(row):
    """Returns the scheme's type, whatever its block is called: colours follow it."""
    rope = row["axes"].get(SCHEME) or row["environment"].get("rope") or row["config"].get("rope")
    return rope["type"] if isinstance(rope, dict) and "type" in rope else scheme_of(row).split()[0]


def quantizer_of(row):
    return " + ".join(label for name in QUANTIZERS if (label := row["labels"].get(name, "none")) not in ("none", "")) or "none"


def controls(rows):
    """Returns the cells that are only controls of a search; what stands in a table of its own right, such as full precision, is none."""
    return {cell for row in rows for name, cell in row.get("controls", {}).items() if name not in ("full precision", "unscaled")}


class Places:
    """Where each of `rows` stands in figures and compact tables."""

    def __init__(self, rows):
        self.layout = Layout(rows)
        self.x = self.layout.x
        self.rest_axes = [axis for axis in self.layout.axes if axis.varies and axis is not self.x and axis.name not in (SCHEME, *QUANTIZERS)]
        panel = self.layout.panel
        self.panel_axes = self.rest_axes if self.x else [axis for axis in self.rest_axes if axis is panel]
        ordered = [row for _, group in self.layout.groups(rows, self.layout.axes) for row in group]
        self.types = {scheme_of(row): type_of(row) for row in ordered}
        self.schemes = list(self.types)
        self.quantizers = sorted(dict.fromkeys(map(quantizer_of, ordered)), key=lambda label: label != "none")
        self.by_quantizer = self.x is not None and len(self.quantizers) > 1 and (len(self.schemes) > 1 or len(self.quantizers) > 6)
        self.colors, self.shapes = shortened(self.schemes), shortened(self.quantizers)
        self.named = {name: label for names in (self.colors, self.shapes) for label, name in names.items()}
        keys = {self.key(row, self.panel_axes, self.by_quantizer) for row in rows}
        # One line a panel would be a lot of panels: then rows have labels, and each length has a panel.
        self.listed = self.x is None or (len(self.schemes) == 1 and len(keys) > 6 and len(self.x.labels) <= 4)

    def key(self, row, axes, with_quantizer=True, with_scheme=False):
        """Returns (scheme, quantizer, the rest) of a row: what titles() names."""
        rest = [axis.said(label) for axis in axes if (label := axis.of(row)) not in ("", "none")]
        return scheme_of(row) if with_scheme else "", quantizer_of(row) if with_quantizer else "", " · ".join(rest)

    def titles(self, keys):
        """Returns {key: name of at most 24 characters}, in the order of quantizers; a rest that all of them share is no part of it."""
        keys = sorted(dict.fromkeys(keys), key=lambda key: self.quantizers.index(key[1]) if key[1] else -1)
        rests = list(dict.fromkeys(rest for *_, rest in keys))
        short = shortened(filter(None, rests)) if len(rests) > 1 or len(keys) == 1 else {}
        titles = unlike({key: joined_within([self.colors.get(key[0], ""), self.shapes.get(key[1], ""), short.get(key[2], "")]) for key in keys})
        self.named |= {title: " · ".join(filter(None, key)) for key, title in titles.items() if title}
        return titles

    @staticmethod
    def rest(row, axes):
        return joined(axes, [axis.of(row) for axis in axes])

    def said(self, row):
        """Returns the full configuration of a row."""
        return joined(self.layout.axes, [axis.of(row) for axis in self.layout.axes]) or "the experiment"

    def full_names(self):
        """Returns [(name in figures, what it stands for)] where these differ."""
        return [(name, label) for name, label in self.named.items() if name != label]

    def legend(self, points):
        """Returns the entries of a figure's legend: schemes and quantizers that it shows, with the look they have in all figures of the report."""
        seen = lambda kind, names: [name for name in names.values() if any(point[kind] == name for point in points)]  # noqa: E731
        styles = self.styles()
        return {
            "scheme": [{"label": name, "color": styles[name][0], "dash": styles[name][1]} for name in seen("scheme", self.colors)],
            "quantizer": [{"label": name, "shape": SHAPES[list(self.shapes.values()).index(name) % len(SHAPES)]} for name in seen("quantizer", self.shapes)],
        }

    def styles(self):
        """Returns {name of a scheme: (colour of its type, dashes by which schemes of one type differ)}."""
        types = list(self.types.values())
        return {
            self.colors[scheme]: (COLORS.get(types[place], OTHER), DASHES[types[:place].count(types[place]) % len(DASHES)])
            for place, scheme in enumerate(self.schemes)
        }

    def look(self, row):
        """Returns what a row's points share wherever they stand."""
        scheme, quantizer = self.colors[scheme_of(row)], self.shapes[quantizer_of(row)]
        return {
            "scheme": scheme,
            "quantizer": quantizer,
            "series": f"{scheme} {quantizer}",
            "what": self.said(row),
            "cell": row["id"],
            "joined": True,
            "full": False,
        }

    def point(self, row, entry, text):
        """entry: {value or difference, low, high, survives, count}.  Returns None where there is no finite value."""
        value = entry.get("value", entry.get("difference"))
        if value is None:
            return None
        look = self.look(row)
        low, high = (value if entry.get(end) is None else entry[end] for end in ("low", "high"))
        if self.listed:
            axes = self.rest_axes if self.x else [axis for axis in self.rest_axes if axis not in self.panel_axes]
            panel = ("", "", self.x.of(row)) if self.x else self.key(row, self.panel_axes, False)
            where = {"line": self.key(row, axes, len(self.quantizers) > 1), "series": look["scheme"], "panel": panel}
        else:
            where = {"x": self.x.numbers[self.x.of(row)], "panel": self.key(row, self.panel_axes, self.by_quantizer)}
        return (
            look
            | where
            | {
                "value": value,
                "low": low,
                "high": high,
                "full": bool(entry.get("survives")),
                "text": text,
                "count": entry.get("count") or entry.get("clusters") or "",
            }
        )
