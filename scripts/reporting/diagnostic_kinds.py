"""What the figure of each diagnostic shows: KINDS."""

import math

from .diagnostic_points import averaged, column, combined, interval, mean, middle, select, whole, with_interval

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BAND, LAYER, PAIR = "RoPE band (0 = highest)", "layer", "RoPE pair (0 = highest)"


# A panel: (title, unit, title along x, function from a table to its points, null or None).


def pressure():
    of = lambda name: lambda lines: {int(line["pair"]): float(line[name]) for line in lines if line["pair"]}  # noqa: E731
    return [("|dφ / d ln s|", "radians", PAIR, of("pressure_rad"), None), ("|ω - ω'| D", "radians", PAIR, of("displacement_rad"), None)]


def phase():
    return [("", "wavelength (tokens)", PAIR, select(whole("pair"), column("wavelength_tokens")), None)]


def of_sites(unit, combine):
    return [
        (f"{site[0]}, {when} RoPE", unit, BAND, combined(whole("band"), combine, site=site, rope=when), None)
        for site in ("q_proj", "k_proj")
        for when in ("before", "after")
    ]


def quant_error():
    of_layer = lambda name: (
        lambda lines: {
            int(line["layer"]): float(line["output_snr_db"])
            for line in lines  # noqa: E731
            if line["site"].rpartition(".")[2] == name and line["layer"] and not line["band"]
        }
    )

    def of_band(name):
        def points(lines):
            found = {}
            for line in lines:
                if line["site"].rpartition(".")[2] == name and line["band"] and math.isfinite(float(line["output_snr_db"])):
                    found.setdefault(int(line["band"]), []).append(float(line["output_snr_db"]))
            return {band: mean(values) for band, values in found.items()}

        return points

    return [(name, "", LAYER, of_layer(name), None) for name in PROJECTIONS] + [(f"{name}, by band", "", BAND, of_band(name), None) for name in PROJECTIONS[:2]]


def logit_noise():
    def relative(line):
        magnitude = float(line["magnitude"])
        return tuple(value / magnitude if magnitude else 0.0 for value in interval(line, "noise"))

    places = {
        "distance": ("distance (tokens)", lambda line: max(0.5, float(line["begin"]))),
        "position": ("position of the query", middle),
        "band": (PAIR, middle),
    }
    panel = lambda unit, by, value: (f"by {by}", unit, places[by][0], select(places[by][1], value, by=by, layer=""), None)  # noqa: E731
    noise = lambda line: interval(line, "noise") if line["noise"] else (0.0,) * 3  # noqa: E731
    told = lambda name: lambda line: interval(line, name) if line[name] else (math.nan,) * 3  # noqa: E731
    rows = [
        panel(unit, by, value)
        for unit, value in (("mean |Δ logit|", noise), ("relative to |logit|", lambda line: relative(line) if line["noise"] else (0.0,) * 3))
        for by in places
    ]
    return [
        *rows,
        *(panel("attention moved", by, told("moved")) for by in places),
        *(panel("KL(full || model), nats", by, told("kl")) for by in ("position", "band")),
    ]


def dynamic_range():
    shown = (("max_ratio", "largest: long / short", 1), ("step_ratio", "step: long / short", 1), ("clip_share", "beyond short range", None))
    return [
        (f"{name}, after RoPE", unit, LAYER, select(whole("layer"), with_interval(what), site=site), null)
        for what, unit, null in shown
        for site, name in (("query", "queries"), ("key", "keys"))
    ]


def anisotropy():
    angle = lambda line: (float(line["angle_begin"]) + float(line["angle_end"])) / 2  # noqa: E731
    square = lambda lines: math.sqrt(mean([float(line["rms"]) ** 2 for line in lines]))  # noqa: E731
    largest = lambda lines: max(float(line["largest"]) for line in lines)  # noqa: E731
    of = lambda grid, combine: lambda lines: combined(angle, combine, grid=grid)([line for line in lines if line["angle_begin"]])  # noqa: E731
    return [
        (f"grid per {grid}", unit, "angle modulo 90°", of(grid, combine), null)
        for unit, combine, null in (("rms / (step / √12)", square, 1), ("largest / (step / 2)", largest, None))
        for grid in ("channel", "pair")
    ]


def aliasing():
    place = "position in the window"
    return [("no pair stops", "NLL (nats)", place, select(middle, column("nll"), moving="all"), None)] + [
        (title, "change of NLL (nats)", place, select(middle, with_interval("difference"), moving=moving), 0)
        for title, moving in (("all pairs stop", "none"), ("only wrapped move on", "wrapped"), ("only unwrapped move on", "unwrapped"))
    ]


def sensitivity():
    of = lambda parameter, value: (
        lambda lines: {
            int(line["band"]): value(line)
            for line in lines  # noqa: E731
            if (line["parameter"], line["layer"], line["pair"]) == (parameter, "", "") and line["band"]
        }
    )
    return [("pressure", "radians per unit of ln s", BAND, of("ln_s", column("pressure_rad")), None)] + [
        (f"|d NLL / d {name}|", "nats per unit", BAND, of(parameter, with_interval("absolute")), None)
        for name, parameter in (("ln s", "ln_s"), ("ln g", "ln_g"), ("ln ω", "ln_omega"))
    ]


ZEROS = "A line that is 0 everywhere is not drawn."
MEAN_OF_ENDS = "Bars: the layers' 95 % intervals over documents, end by end as their mean: too wide where layers differ, never too narrow."
# kind: (heading, panels, unit of all panels, panels beside each other, what is to be known)
KINDS = {
    "quant_error": (
        "Quantization error of single layers",
        quant_error,
        "output SNR (dB)",
        3,
        "Output SNR of each linear layer alone: 10 log10 of the squares of its outputs over those of their errors, both for the inputs that "
        "it gets in full precision. "
        "A layer whose output is not off has no point; bands: mean over layers.",
    ),
    "tail_inflation": (
        "Tail inflation",
        None,
        "",
        0,
        "The same tokens in the cell's windows over short contexts: by how much the 0.999-quantile of queries and keys before RoPE (TIR_W), "
        "and the share of their values "
        "after RoPE beyond the quantile in short contexts (TIR_A), grow. White is the null, 1, which layer 0 before RoPE has by "
        "construction; the scale is that of all "
        "cells. Grey: fewer than 100 values behind the ratio. A dot: the 95 % interval over documents leaves out 1, as one in twenty does by chance.",
    ),
    "interpolation_pressure": (
        "Interpolation pressure",
        pressure,
        "",
        2,
        f"How far each pair's phase moves, at the distance D, per unit of ln s, and how far from plain RoPE. {ZEROS}",
    ),
    "phase": (
        "Wavelengths",
        phase,
        "",
        1,
        "A pair whose wavelength lies above a length does not complete a period over it; lines: the trained length and the window.",
    ),
    "tail_ratios": (
        "Tail ratios",
        lambda: of_sites("", averaged("ratio_999")),
        "Q_0.999 / Q_0.5 of |x|",
        2,
        f"Of queries and keys; mean over layers. {MEAN_OF_ENDS}",
    ),
    "outlier_counts": (
        "Outliers",
        lambda: of_sites("", lambda lines: tuple(1e6 * end for end in averaged("fraction", lambda line: int(line["count"]))(lines))),
        "outliers per million",
        2,
        f"Values of queries and keys beyond 6 standard deviations of their channel, over all layers. {MEAN_OF_ENDS} {ZEROS}",
    ),
    "logit_noise": (
        "Noise of the attention logits",
        logit_noise,
        "",
        3,
        "Between the evaluated model and full precision, each on its own hidden states, over all layers and heads; logits are centred over "
        "the keys of a query, since softmax does "
        "not see what all keys share. Distance 0 stands at ½. Bars: 95 % intervals over documents. A cell without a line has no noise.",
    ),
    "dynamic_range": (
        "Dynamic range of queries and keys",
        dynamic_range,
        "",
        2,
        "The same tokens in the cell's windows over short contexts: largest magnitude and step of a head's group, and the share of values "
        "outside of what their channel has in short "
        "contexts. The null is 1, and 0 for the share. Bars: 95 % intervals.",
    ),
    "anisotropy": (
        "Rounding error by angle of rotation",
        anisotropy,
        "",
        2,
        "Errors of 4-bit grids on queries and keys after RoPE, turned back to the axes before it; over all layers. "
        "Grey steps: the bound of theory, |cos| + |sin|.",
    ),
    "aliasing": (
        "Phases that stop at the trained length",
        aliasing,
        "",
        2,
        "Loss by position when, at keys farther than the trained length, some pairs keep the phase of that distance, less the loss "
        "when none does. Bars: 95 % intervals over documents. Below 0, the model does better without these pairs' far phases.",
    ),
    "sensitivity": (
        "Sensitivity of the loss",
        sensitivity,
        "",
        2,
        "Closed-form interpolation pressure (mean over a band's pairs) beside derivatives of the loss by autograd, over all layers at once: "
        f"mean over documents of the absolute value, with 95 % intervals. {ZEROS}",
    ),
}
SIGNED = {"aliasing", "quant_error"}  # the others are magnitudes, in which 0 means that there is nothing
