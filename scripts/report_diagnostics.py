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


def interval(line, column):
    """Returns (value, low, high) of a line; low and high are the value where there is no interval."""
    value = float(line[column])
    return (value, *(float(line[f"{column}_{end}"] or value) for end in ("low", "high")))


def plot_lines(cells, rows_of_panels, positive=False):
    """Plots a line per cell in every panel (heading, x title, y title, function from a table to {x: y} or {x: (y, low, high)}); panels of a row
    with one y title share their y axis.  `positive`: values of 0 make gaps, and the axis is logarithmic where the others span more than a factor
    of 10."""
    def with_ends(points):
        return {x: y if isinstance(y, tuple) else (y, y, y) for x, y in points.items()}

    styles = [(color, marker, dash) for dash in ("-", "--", ":") for color, marker in STYLES]
    cells = [(title, [[with_ends(points(table)) for *_, points in row] for row in rows_of_panels], style)
             for (title, table), style in zip(unlike(cells), styles)]
    cells = [(title, lines, style) for title, lines, style in cells
             if not positive or any(y > 0 for row in lines for points in row for y, *_ in points.values())]
    if not cells:
        return None
    columns = len(rows_of_panels[0])
    labels = [textwrap.fill(title, 45 * columns) for title, *_ in cells]
    legend_lines = sum(label.count("\n") + 1 for label in labels)
    figure, all_axes = pyplot.subplots(len(rows_of_panels), columns, squeeze=False,
                                       figsize=(4.1 * columns, 3.1 * len(rows_of_panels) + 0.24 * legend_lines))
    for axes_row, row in zip(all_axes, rows_of_panels):
        for axes, panel in zip(axes_row[1:], row[1:]):
            if panel[2] == row[0][2]:
                axes.sharey(axes_row[0])
    handles = []
    for _, lines, (color, marker, dash) in cells:
        for axes_row, line_row in zip(all_axes, lines):
            for axes, points in zip(axes_row, line_row):
                x = sorted(points)
                y = [points[at][0] if points[at][0] > 0 or not positive else math.nan for at in x]
                handle, = axes.plot(x, y, color=color, marker=marker, linestyle=dash, markerfacecolor="white", markersize=4, linewidth=1.3)
                ends = [(at, low, high) for at, (_, low, high) in points.items() if low < high]
                if ends:  # an end at 0 lies below a logarithmic axis, which then cuts the bar
                    at, low, high = zip(*ends)
                    axes.vlines(at, low, high, color=color, linewidth=1, alpha=0.6)
        handles.append(handle)
    for place, (axes_row, row) in enumerate(zip(all_axes, rows_of_panels)):
        for column, (axes, (heading, x_title, y_title, _)) in enumerate(zip(axes_row, row)):
            axes.set_title(heading, fontsize=11)
            axes.set_xlabel(x_title)
            axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
            shared = [number for number, panel in enumerate(row) if panel[2] == y_title]
            if column == shared[0]:
                axes.set_ylabel(y_title)
            values = [y for _, lines, _ in cells for number in shared for y, *_ in lines[place][number].values() if 0 < y < math.inf]
            if positive and values and max(values) > 10 * min(values):
                axes.set_yscale("log")
                axes.set_ylim(min(values) / 2, max(values) * 2)
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


FEWEST_BEHIND_A_RATE = 100


def values_behind(line, column):
    """Returns how many values lie beyond the quantile or the clip of a ratio: in the smaller of the two sets."""
    if column == "tir_w":
        return int(line["count"]) * (1 - float(line["p"]))
    return min(int(line["short_above"]), int(line["long_above"]))


def plot_tail_inflation(table, title):
    """Plots heat maps of layers and bands at p = 0.999.  White is the null, 1; grey covers what has few values behind it; a dot is where the
    interval leaves out 1."""
    figure, all_axes = pyplot.subplots(2, 2, figsize=(8.4, 2.4 + 0.32 * max(6, 1 + max(int(line["layer"]) for line in table))))
    for axes_row, (column, name) in zip(all_axes, (("tir_w", "TIR_W"), ("tir_a", "TIR_A"))):
        for axes, site in zip(axes_row, ("q_proj", "k_proj")):
            lines = [line for line in table if line["site"] == site and float(line["p"]) == 0.999]
            layers, bands = (1 + max(int(line[name]) for line in lines) for name in ("layer", "band"))
            grid, covered = ([[math.nan] * bands for _ in range(layers)] for _ in range(2))
            for line in lines:
                layer, band, ratio = int(line["layer"]), int(line["band"]), float(line[column])
                grid[layer][band] = math.log2(ratio) if 0 < ratio < math.inf else math.nan
                few = values_behind(line, column) < FEWEST_BEHIND_A_RATE
                covered[layer][band] = 1 if few else math.nan
                _, low, high = interval(line, column)
                if not few and (low > 1 or high < 1) and low < high:
                    axes.plot(band, layer, ".", color="black", markersize=4)
            span = max([0.1, *(abs(value) for values, covers in zip(grid, covered) for value, cover in zip(values, covers)
                               if math.isfinite(value) and not math.isfinite(cover))])
            image = axes.imshow(grid, cmap="RdBu_r", vmin=-span, vmax=span, aspect="auto")
            axes.imshow(covered, cmap="Greys", vmin=0, vmax=2, alpha=0.85, aspect="auto")
            axes.grid(False)
            axes.set_title(f"{name}, {site}", fontsize=11)
            axes.set_xlabel("RoPE band")
            axes.set_ylabel("layer (0: null, 1)" if column == "tir_w" else "layer")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(ticker.MaxNLocator(integer=True))
            figure.colorbar(image, ax=axes, format=lambda value, _: "1 (null)" if value == 0 else f"{2 ** value:.2f}")
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
    """Plots noise and what it does to attention, over all layers; distances are at their bin's index, which the ticks translate."""
    def points(by, value):
        def of_table(table):
            lines = [line for line in table if line["by"] == by and not line["layer"]]
            middle = lambda line: (int(line["begin"]) + int(line["end"]) - 1) / 2  # noqa: E731
            place = (lambda line: int(line["begin"]).bit_length()) if by == "distance" else middle
            return {place(line): value(line) for line in lines if line["by"] != "band" or line["noise"]}
        return of_table

    def relative(line):
        magnitude = float(line["magnitude"])
        return tuple(value / magnitude if magnitude else 0.0 for value in interval(line, "noise"))

    def of(column):
        return lambda line: interval(line, column)

    distance, position = ("distance", "distance of query and key (tokens)"), ("position", "position of the query")
    places = (distance, position, ("band", "RoPE pair (0: highest frequency)"))
    rows = [[(f"by {by}", x_title, y_title, points(by, value)) for by, x_title in places]
            for y_title, value in (("mean |Δ logit|, centred", of("noise")), ("relative to mean |logit|", relative))]
    rows.append([*((f"by {by}", x_title, "attention moved", points(by, of("moved"))) for by, x_title in (distance, position)),
                 ("by position", position[1], "KL(full || model), nats", points("position", of("kl")))])
    figure = plot_lines(cells, rows, positive=True)
    if figure is not None:
        bins = range(1 + max(int(line["begin"]).bit_length() for *_, table in cells for line in table if line["by"] == "distance"))
        for axes in figure.axes[::3]:
            axes.set_xticks(bins, [str(1 << number >> 1) for number in bins], rotation=60 if len(bins) > 9 else 0, fontsize=9)
    return figure


def plot_sensitivity(cells):
    """Plots, over all layers, the closed-form pressure of each band beside what the loss depends on."""
    def points(parameter, value):
        return lambda table: {int(line["band"]): value(line) for line in table
                              if (line["parameter"], line["layer"], line["pair"]) == (parameter, "", "") and line["band"]}

    def absolute(line):
        return interval(line, "absolute")

    band = "RoPE band (0: highest frequencies)"
    return plot_lines(cells, [[("interpolation pressure", band, "radians per unit of ln s", points("ln_s", lambda line: float(line["pressure_rad"]))),
                               ("|d NLL / d ln s|", band, "nats per unit of ln s", points("ln_s", absolute))],
                              [("|d NLL / d ln g|", band, "nats per unit of ln g", points("ln_g", absolute)),
                               ("|d NLL / d ln ω|", band, "nats per unit of ln ω", points("ln_omega", absolute))]], positive=True)


def mark(figure, places, value):
    """Draws the null as a line in some panels."""
    for place in places:
        figure.axes[place].axhline(value, color="0.5", linewidth=0.8, zorder=0)
    return figure


def plot_dynamic_range(cells):
    """Plots, by layer, how the ranges of queries and cached keys and what falls out of the short contexts' differ."""
    def points(site, column):
        return lambda table: {int(line["layer"]): interval(line, column) for line in table if line["site"] == site}
    sites = (("query", "queries"), ("key", "keys"))
    figure = plot_lines(cells, [[(f"{name}, after RoPE", "layer", y_title, points(site, column)) for site, name in sites]
                                for column, y_title in (("max_ratio", "largest: long / short"), ("step_ratio", "step: long / short"),
                                                        ("clip_share", "share beyond short range"))])
    return mark(figure, range(4), 1)


def plot_anisotropy(cells):
    """Plots errors by angle: rms over layers, queries and keys together, and the largest, with its theory."""
    def points(grid, column, combine):
        def of_table(table):
            by_angle = {}
            for line in table:
                if line["grid"] == grid and line["angle_begin"]:
                    by_angle.setdefault((float(line["angle_begin"]) + float(line["angle_end"])) / 2, []).append(float(line[column]))
            return {angle: combine(values) for angle, values in by_angle.items()}
        return of_table

    def mean_square_root(values):
        return math.sqrt(sum(value * value for value in values) / len(values))

    angle = "angle of rotation modulo 90°"
    figure = plot_lines(cells, [[(f"grid per {grid}", angle, y_title, points(grid, column, combine)) for grid in ("channel", "pair")]
                                for column, y_title, combine in (("rms", "rms / (step / √12)", mean_square_root),
                                                                 ("largest", "largest / (step / 2)", max))])
    theory = points("pair", "theory", max)(cells[0][2])
    for axes in figure.axes[2:4]:
        axes.step(sorted(theory), [theory[at] for at in sorted(theory)], where="mid", color="0.5", linewidth=0.8, zorder=0)
    return figure


def plot_aliasing(cells):
    """Plots the loss by position, and what it changes by when pairs stop."""
    def points(moving, column):
        return lambda table: {(int(line["begin"]) + int(line["end"]) - 1) / 2: interval(line, column) if column == "difference"
                              else float(line[column]) for line in table if line["moving"] == moving}
    place, change = "position in the window", "change of NLL (nats)"
    figure = plot_lines(cells, [[("no pair stops", place, "NLL (nats)", points("all", "nll")),
                                 ("all pairs stop", place, change, points("none", "difference"))],
                                [("only wrapped pairs move on", place, change, points("wrapped", "difference")),
                                 ("only pairs not wrapped move on", place, change, points("unwrapped", "difference"))]])
    return mark(figure, (1, 2, 3), 0)


# type: (heading, plot of one cell's table under a title, caption)
OF_ONE_CELL = {
    "quant_error": ("Quantization error of single layers", plot_quant_error,
                    "Output SNR of each linear layer alone: 10 log10 of the squares of its outputs over those of their errors, both for "
                    "the inputs that it gets in full precision. A layer whose output is not off has no point."),
    "tail_inflation": ("Tail inflation", plot_tail_inflation,
                       "The same tokens in the cell's windows over short contexts: by how much the 0.999-quantile of queries and keys before "
                       "RoPE (TIR_W), and the share of their values after RoPE beyond the quantile in short contexts (TIR_A), grow. White is "
                       "the null, 1, which layer 0 before RoPE has by construction. Grey: fewer than 100 values behind the ratio. A dot: the "
                       "95 % interval over documents leaves out 1, as one in twenty does by chance. Band 0 has the highest frequencies."),
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
                    "Between the evaluated model and full precision, each on its own hidden states, over all layers and heads; logits are "
                    "centred over the keys of a query, since softmax does not see what all keys share. Bars: 95 % intervals over documents. "
                    "A cell without a line has no noise."),
    "dynamic_range": ("Dynamic range of queries and keys", plot_dynamic_range,
                      "The same tokens in the cell's windows over short contexts: largest magnitude and step of a head's group, and the share of "
                      "values outside of what their channel has in short contexts. The null is 1, and 0 for the share. Bars: 95 % intervals."),
    "anisotropy": ("Rounding error by angle of rotation", plot_anisotropy,
                   "Errors of 4-bit grids on queries and keys after RoPE, turned back to the axes before it; over all layers. Grey: the bound of "
                   "theory, |cos| + |sin|."),
    "aliasing": ("Phases that stop at the trained length", plot_aliasing,
                 "Loss by position when, at keys farther than the trained length, some pairs keep the phase of that distance, less the loss when "
                 "none does. Bars: 95 % intervals over documents. Below 0, the model does better without these pairs' far phases."),
    "sensitivity": ("Sensitivity of the loss", plot_sensitivity,
                    "Closed-form interpolation pressure (mean over a band's pairs) beside derivatives of the loss by autograd, over all layers "
                    "at once: mean over documents of the absolute value, with 95 % intervals. What is 0 has no point."),
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
