"""Styles and writes the plots and tables of scripts/report.py."""
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot, ticker  # noqa: E402  (the backend is chosen first)

# Okabe & Ito's colours without yellow, which is not visible on white; each has its own marker.
STYLES = list(zip(["#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"], "os^DvPX"))
pyplot.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
                        "grid.alpha": 0.3, "svg.hashsalt": "qroar", "savefig.bbox": "tight", "savefig.dpi": 300,
                        "figure.constrained_layout.use": True, "figure.constrained_layout.wspace": 0.05})

# Per axis: (factor, multiples of the powers of ten with tick labels where the values span more than this factor, and where they do not).  Labels
# along x need more room than along y.
NUMBERS = {"x": (50, (1,), (1, 2, 5)), "y": (20, (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))}


def scale_values(axis, values):
    """Sets an axis of a metric's values: logarithmic where they span more than a factor of 4."""
    if values and min(values) > 0 and max(values) > 4 * min(values):
        factor, few, many = NUMBERS[axis.axis_name]
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_locator(ticker.LogLocator(subs=few if max(values) > factor * min(values) else many))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())


def write_plot(figure, out, name):
    """Writes NAME.png and NAME.svg, without dates, so that equal figures give equal bytes."""
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        figure.savefig(out / f"{name}.{kind}", metadata=metadata)
    pyplot.close(figure)


def markdown(header, body):
    escape = lambda cell: str(cell).replace("|", "\\|").replace("\n", " ")  # noqa: E731
    lines = [header, ["---"] * len(header), *body]
    return "".join("| " + " | ".join(map(escape, line)) + " |\n" for line in lines)
