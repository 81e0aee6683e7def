"""The sections of scripts/report.py on diagnostics: one figure per cell from cells/<id>/diagnostics/<type>.csv."""
import csv
import math
import textwrap

from matplotlib import pyplot, ticker
from report_style import STYLES, write_plot

MOST_CELLS = 12
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def read_table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def draw(axes, points, style):
    """Points {x: dB} as a line; where nothing is off the SNR is infinite, and the line has a gap."""
    x = sorted(points)
    y = [points[place] if math.isfinite(points[place]) else math.nan for place in x]
    return axes.plot(x, y, color=style[0], marker=style[1], markerfacecolor="white", markersize=5, linewidth=1.5)[0]


def mean_of_finite(values):
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.inf


def plot_quant_error(table, title):
    """Output SNR per layer, and per RoPE band of q and k where those are off; None where no layer's output is off."""
    by_layer = {name: {} for name in PROJECTIONS}
    by_band = {name: {} for name in PROJECTIONS}
    for line in table:
        name, value = line["site"].rpartition(".")[2], float(line["output_snr_db"])
        if name not in PROJECTIONS:  # lm_head, and decoder layers as a whole
            continue
        if line["band"]:
            by_band[name].setdefault(int(line["band"]), []).append(value)
        else:
            by_layer[name][int(line["layer"])] = value
    means = {name: {band: mean_of_finite(values) for band, values in bands.items()} for name, bands in by_band.items()}
    panels = [panel for panel in (("layer", "each layer", by_layer),
                                  ("RoPE band (0: highest frequencies)", "q and k, mean over layers", means))
              if any(math.isfinite(value) for points in panel[2].values() for value in points.values())]
    if not panels:
        return None
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(1.5 + 3.9 * len(panels), 3.6), sharey=True, squeeze=False)
    handles = {}
    for axes, (x_title, heading, lines) in zip(all_axes[0], panels):
        for name, style in zip(PROJECTIONS, STYLES):
            if any(map(math.isfinite, lines[name].values())):
                handles.setdefault(name, draw(axes, lines[name], style))
        axes.set_xlabel(x_title)
        axes.set_title(heading, fontsize=11)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    all_axes[0][0].set_ylabel("output SNR (dB)")
    figure.suptitle(textwrap.fill(title, 45 * len(panels)), fontsize=11)
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
    return figure


# type: (heading, plot, what the figure shows)
DIAGNOSTICS = {
    "quant_error": ("Quantization error of single layers", plot_quant_error,
                    "Output SNR of each linear layer alone: 10 log10 of the squares of its outputs over those of their errors, both for "
                    "the inputs that it gets in full precision. A layer whose output is not off has no point."),
}


def sections(cells, out):
    """Markdown of all diagnostics; cells: (id, title, folder of its tables) in reading order.  Writes the figures into `out`."""
    text = []
    for kind, (heading, plot, note) in DIAGNOSTICS.items():
        tables = [(cell, title, folder / f"{kind}.csv") for cell, title, folder in cells if (folder / f"{kind}.csv").exists()]
        if not tables:
            continue
        text += [f"## {heading}\n", f"{note}\n"]
        if len(tables) > MOST_CELLS:
            text.append(f"The first {MOST_CELLS} of {len(tables)} cells; the others' tables are in their folders.\n")
        for cell, title, path in tables[:MOST_CELLS]:
            figure = plot(read_table(path), title)
            name = f"{kind}_{cell}"
            if figure is None:
                text.append(f"{title} (`{cell}`): nothing is off.\n")
                continue
            write_plot(figure, out, name)
            text += [f"![{title}]({name}.png)\n", f"*{title}, cell `{cell}`; also as [SVG]({name}.svg).*\n"]
    return text
