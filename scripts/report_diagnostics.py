"""The sections of scripts/report.py on diagnostics: figures per cell, or of all cells, from cells/<id>/diagnostics/<type>.csv."""
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
    """Draws points {x: dB} as a line; the SNR is infinite where there is no error, and the line has a gap there."""
    x = sorted(points)
    y = [points[place] if math.isfinite(points[place]) else math.nan for place in x]
    return axes.plot(x, y, color=style[0], marker=style[1], markerfacecolor="white", markersize=5, linewidth=1.5)[0]


def mean_of_finite(values):
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.inf


def plot_quant_error(table, title):
    """Plots output SNR per layer, and per RoPE band of q and k where those have errors; None where no layer's output has an error."""
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


def unlike(cells):
    """Merges cells with equal tables, which differ only in what the diagnostic does not depend on, into one (title, table)."""
    groups = {}
    for _, title, table in cells:
        groups.setdefault(str(table), (title, table, []))[2].append(title)
    return [(title + (f" (and {len(alike) - 1} with the same table)" if len(alike) > 1 else ""), table)
            for title, table, alike in groups.values()]


def plot_lines(cells, rows_of_panels, positive=False):
    """Plots a line per cell in every panel (heading, x title, y title, function from a table to {x: y}); panels of a row share their y axis.
    `positive`: values of 0 make gaps, and the axis is logarithmic where the others span more than a factor of 10."""
    styles = [(color, marker, dash) for dash in ("-", "--", ":") for color, marker in STYLES]
    cells = [(title, [[points(table) for *_, points in row] for row in rows_of_panels], style)
             for (title, table), style in zip(unlike(cells), styles)]
    cells = [(title, lines, style) for title, lines, style in cells
             if not positive or any(y > 0 for row in lines for points in row for y in points.values())]
    if not cells:
        return None
    columns = len(rows_of_panels[0])
    labels = [textwrap.fill(title, 45 * columns) for title, *_ in cells]
    legend_lines = sum(label.count("\n") + 1 for label in labels)
    figure, all_axes = pyplot.subplots(len(rows_of_panels), columns, sharey="row", squeeze=False,
                                       figsize=(4.1 * columns, 3.1 * len(rows_of_panels) + 0.24 * legend_lines))
    handles = []
    for _, lines, (color, marker, dash) in cells:
        for axes_row, line_row in zip(all_axes, lines):
            for axes, points in zip(axes_row, line_row):
                x = sorted(points)
                y = [points[at] if points[at] > 0 or not positive else math.nan for at in x]
                handle, = axes.plot(x, y, color=color, marker=marker, linestyle=dash, markerfacecolor="white", markersize=4, linewidth=1.3)
        handles.append(handle)
    for axes_row, row in zip(all_axes, rows_of_panels):
        axes_row[0].set_ylabel(row[0][2])
        for axes, (heading, x_title, _, _) in zip(axes_row, row):
            axes.set_title(heading, fontsize=11)
            axes.set_xlabel(x_title)
            axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    if positive:
        for place, axes_row in enumerate(all_axes):
            values = [y for _, lines, _ in cells for points in lines[place] for y in points.values() if 0 < y < math.inf]
            if max(values) > 10 * min(values):
                axes_row[0].set_yscale("log")
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=10)
    return figure


def plot_pressure(cells):
    def pairs(column):
        return lambda table: {int(line["pair"]): float(line[column]) for line in table if line["pair"]}
    return plot_lines(cells, [[("pressure |dφ / d ln s|", "RoPE pair", "radians", pairs("pressure_rad")),
                               ("displacement |ω - ω'| D", "RoPE pair", "radians", pairs("displacement_rad"))]], positive=True)


def plot_phase(cells):
    figure = plot_lines(cells, [[("", "RoPE pair", "wavelength (tokens)",
                                  lambda table: {int(line["pair"]): float(line["wavelength_tokens"]) for line in table})]], positive=True)
    lengths = {}
    for _, _, table in cells:
        for column, name in (("wraps_trained", "trained length"), ("wraps_target", "window")):
            length = round(float(table[0][column]) * float(table[0]["wavelength_tokens"]))
            lengths.setdefault(length, []).append(name)
    axes, = figure.axes
    figure.set_size_inches(6.5, figure.get_size_inches()[1] + 0.5)
    for length, names in lengths.items():
        axes.axhline(length, color="0.5", linewidth=0.8, zorder=0)
        axes.annotate(f"{' and '.join(dict.fromkeys(names))}: {length}", (0, length), xytext=(2, 2), textcoords="offset points",
                      fontsize=9, color="0.3", xycoords=("axes fraction", "data"))
    return figure


def plot_tail_inflation(table, title):
    """Plots heat maps of layers and bands at p = 0.999; white is 1."""
    figure, all_axes = pyplot.subplots(2, 2, figsize=(8.4, 2.4 + 0.32 * max(6, 1 + max(int(line["layer"]) for line in table))))
    for axes_row, (column, name) in zip(all_axes, (("tir_w", "TIR_W"), ("tir_a", "TIR_A"))):
        for axes, site in zip(axes_row, ("q_proj", "k_proj")):
            lines = [line for line in table if line["site"] == site and float(line["p"]) == 0.999]
            layers, bands = (1 + max(int(line[name]) for line in lines) for name in ("layer", "band"))
            grid = [[math.nan] * bands for _ in range(layers)]
            for line in lines:
                ratio = float(line[column])
                grid[int(line["layer"])][int(line["band"])] = math.log2(ratio) if 0 < ratio < math.inf else math.nan
            span = max([0.1, *(abs(value) for row in grid for value in row if math.isfinite(value))])
            image = axes.imshow(grid, cmap="RdBu_r", vmin=-span, vmax=span, aspect="auto")
            axes.grid(False)
            axes.set_title(f"{name}, {site}", fontsize=11)
            axes.set_xlabel("RoPE band")
            axes.set_ylabel("layer")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(ticker.MaxNLocator(integer=True))
            figure.colorbar(image, ax=axes, format=lambda value, _: f"{2 ** value:.2f}")
    figure.suptitle(textwrap.fill(title, 90), fontsize=11)
    return figure


def of_site(column, site, rope, combine):
    """Returns a function from a table to {band: combined column over layers} of the queries or keys before or after RoPE."""
    def points(table):
        lines = {}
        for line in table:
            if (line["site"], line["rope"]) == (site, rope):
                lines.setdefault(int(line["band"]), []).append(line)
        return {band: combine(band_lines, column) for band, band_lines in lines.items()}
    return points


def plot_of_sites(cells, column, y_title, combine):
    return plot_lines(cells, [[(f"{site}, {rope} RoPE", "RoPE band (0: highest frequencies)", y_title, of_site(column, site, rope, combine))
                               for rope in ("before", "after")] for site in ("q_proj", "k_proj")])


def plot_tail_ratios(cells):
    return plot_of_sites(cells, "ratio_999", "Q_0.999 / Q_0.5",
                         lambda lines, column: sum(float(line[column]) for line in lines) / len(lines))


def plot_outliers(cells):
    return plot_of_sites(cells, "outliers", "outliers per million",
                         lambda lines, column: 1e6 * sum(int(line[column]) for line in lines) / sum(int(line["count"]) for line in lines))


def plot_logit_noise(cells):
    """Plots noise over all layers; distances are at their bin's index, which the ticks translate."""
    def points(by, value):
        def of_table(table):
            lines = [line for line in table if line["by"] == by and not line["layer"]]
            middle = lambda line: (int(line["begin"]) + int(line["end"]) - 1) / 2  # noqa: E731
            place = (lambda line: int(line["begin"]).bit_length()) if by == "distance" else middle
            return {place(line): value(line) for line in lines}
        return of_table
    noise = lambda line: float(line["noise"])  # noqa: E731
    relative = lambda line: noise(line) / float(line["magnitude"])  # noqa: E731
    places = (("distance", "distance of query and key (tokens)"), ("position", "position of the query"))
    figure = plot_lines(cells, [[(f"by {by}", x_title, y_title, points(by, value)) for by, x_title in places]
                                for y_title, value in (("mean |Δ logit|", noise), ("relative to mean |logit|", relative))], positive=True)
    if figure is not None:
        bins = range(1 + max(int(line["begin"]).bit_length() for *_, table in cells for line in table if line["by"] == "distance"))
        for axes in figure.axes[::2]:
            axes.set_xticks(bins, [str(1 << number >> 1) for number in bins], rotation=60 if len(bins) > 9 else 0, fontsize=9)
    return figure


# type: (heading, plot of one cell's table under a title, caption)
OF_ONE_CELL = {
    "quant_error": ("Quantization error of single layers", plot_quant_error,
                    "Output SNR of each linear layer alone: 10 log10 of the squares of its outputs over those of their errors, both for "
                    "the inputs that it gets in full precision. A layer whose output is not off has no point."),
    "tail_inflation": ("Tail inflation", plot_tail_inflation,
                       "How the 0.999-quantile of queries and keys before RoPE (TIR_W), and the share of their values after RoPE beyond "
                       "its short-window quantile (TIR_A), grow from short windows to the cell's. White is 1; where nothing lies beyond it, "
                       "there is no colour. Band 0 has the highest frequencies."),
}

# type: (heading, plot of [(id, title, table)] of several cells, caption)
OF_ALL_CELLS = {
    "interpolation_pressure": ("Interpolation pressure", plot_pressure,
                               "How far each pair's phase moves, at the distance D, per unit of ln s, and how far from plain RoPE. What is 0 "
                               "has no point: a cell without a line has neither."),
    "phase": ("Wavelengths", plot_phase,
              "A pair whose wavelength lies above a length does not complete a period over it."),
    "tail_ratios": ("Tail ratios", plot_tail_ratios, "Of |x| of queries and keys; mean over layers of Q_0.999 over the median."),
    "outlier_counts": ("Outliers", plot_outliers,
                       "Values of queries and keys beyond 6 standard deviations of their channel, over all layers."),
    "logit_noise": ("Noise of the attention logits", plot_logit_noise,
                    "Between the evaluated model and full precision, each on its own hidden states, over all layers and heads. A cell "
                    "without a line has no noise."),
}


def sections(cells, out):
    """Returns Markdown of all diagnostics; cells: (id, title, folder of its tables) in reading order.  Writes the figures into `out`."""
    text = []
    for kind, (heading, plot, note) in {**OF_ONE_CELL, **OF_ALL_CELLS}.items():
        paths = [(cell, title, folder / f"{kind}.csv") for cell, title, folder in cells if (folder / f"{kind}.csv").exists()]
        if not paths:
            continue
        text += [f"## {heading}\n", f"{note}\n"]
        if len(paths) > MOST_CELLS:
            text.append(f"The first {MOST_CELLS} of {len(paths)} cells; the others' tables are in their folders.\n")
        tables = [(cell, title, read_table(path)) for cell, title, path in paths[:MOST_CELLS]]
        if kind in OF_ALL_CELLS:
            text.append(figure_or(plot(tables), out, kind, heading, "all cells", "Nothing to draw: 0 everywhere.\n"))
        else:
            text += [figure_or(plot(table, title), out, f"{kind}_{cell}", title, f"{title}, cell `{cell}`",
                               f"{title} (`{cell}`): nothing is off.\n") for cell, title, table in tables]
    return text


def figure_or(figure, out, name, title, caption, otherwise):
    """Writes a figure and returns its Markdown, or `otherwise` where there is none."""
    if figure is None:
        return otherwise
    write_plot(figure, out, name)
    return f"![{title}]({name}.png)\n\n*{caption}; also as [SVG]({name}.svg).*\n"
