"""Where rows stand in figures and tables: by scheme (colour), quantizer (marker), length (x), and everything else (panels)."""

from .axes import Layout, joined
from .configured import block_of, label_of
from .labels import called, in_order, shortened, within
from .looks import shapes_of, styles_of

SCHEME, QUANTIZERS = "rope", ("quant", "kv", "rotation")
def block_name(row, name):
    """Returns what a row's block is called: by its axis, or where no axis sweeps it by its configuration."""
    return row["labels"].get(name) or row.get("configured", {}).get(name) or label_of(block_of(row, name))


def scheme_of(row):
    return block_name(row, SCHEME)


def type_of(row):
    """Returns the scheme's type, whatever its block is called: colours follow it."""
    rope = row["axes"].get(SCHEME) or row["environment"].get("rope") or row["config"].get("rope")
    return rope["type"] if isinstance(rope, dict) and "type" in rope else scheme_of(row).split()[0]


def quantizer_of(row):
    return " + ".join(label for name in QUANTIZERS if (label := block_name(row, name)) not in ("none", "")) or "none"


def family_of(row):
    """Returns what says the marker of a row's quantizer: its configuration, whatever it is called; its name where weights were quantized before."""
    blocks = [label for name in QUANTIZERS if (label := label_of(block_of(row, name))) != "none"]
    return " + ".join(blocks) or quantizer_of(row)


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
        families = {quantizer_of(row): family_of(row) for row in ordered}
        self.markers, self.styles = shapes_of({name: families[name] for name in self.quantizers}), styles_of(self.types)
        self.named = {name: label for names in (self.colors, self.shapes) for label, name in names.items()}
        keys = {self.key(row, self.panel_axes, self.by_quantizer) for row in rows}
        # One line a panel would be a lot of panels: then rows have labels, and each length has a panel.
        self.listed = self.x is None or (len(keys) > 6 and len(self.x.labels) <= 4)

    def key(self, row, axes, with_quantizer=True, with_scheme=False):
        """Returns (scheme, quantizer, the rest) of a row: what titles() names."""
        rest = [axis.said(label) for axis in axes if (label := axis.of(row)) not in ("", "none")]
        return scheme_of(row) if with_scheme else "", quantizer_of(row) if with_quantizer else "", " · ".join(rest)

    def titles(self, keys):
        """Returns {key: name of at most 24 characters}, in the order of quantizers and of the rest; a rest that all of them share is no part of it."""
        keys = sorted(dict.fromkeys(keys), key=lambda key: (self.quantizers.index(key[1]) if key[1] else -1, in_order(key[2])))
        rests = list(dict.fromkeys(rest for *_, rest in keys))
        short = called(filter(None, rests)) if len(rests) > 1 or len(keys) == 1 else {}
        parts = {key: (self.colors.get(key[0]), self.shapes.get(key[1]), short.get(key[2])) for key in keys}
        blocks = [axis.name for axis in self.rest_axes if axis.blocks]
        nothing = f"no {'/'.join(blocks)}" if blocks and len(keys) > 1 else ""
        titles = within({key: " · ".join(filter(None, own)) or nothing for key, own in parts.items()})
        self.named |= {title: " · ".join(filter(None, key)) for key, title in titles.items() if any(key)}
        return titles

    @staticmethod
    def rest(row, axes):
        return joined(axes, [axis.of(row) for axis in axes])

    def said(self, row):
        """Returns the full configuration of a row; of what it has not, the scheme alone is named."""
        labels = [axis.of(row) for axis in self.layout.said]
        told = ["" if label == "none" and axis.name != SCHEME else label for axis, label in zip(self.layout.said, labels)]
        return joined(self.layout.said, told) or ("none" if any(labels) else "the experiment")

    def full_names(self):
        """Returns [(name in figures, what it stands for)] where these differ."""
        return [(name, label) for name, label in self.named.items() if name != label]

    def legend(self, points):
        """Returns the entries of a figure's legend: schemes and quantizers that it shows, with the look they have in all figures of the report."""
        return {
            "scheme": [
                {"label": name, "color": color, "dash": dash}
                for scheme, (color, dash) in self.styles.items()
                if (name := self.colors[scheme]) in {point["scheme"] for point in points}
            ],
            "quantizer": [
                {"label": name, "shape": shape}
                for quantizer, shape in self.markers.items()
                if (name := self.shapes[quantizer]) in {point["quantizer"] for point in points}
            ],
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
