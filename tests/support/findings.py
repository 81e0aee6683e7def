"""Rows as `qroar show --format json` gives them, made by hand, and what a report makes its sections from."""
import sys

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
from reporting.rows import Findings  # noqa: E402

ROPES = {
    "none": {"type": "none"},
    "linear ×8": {"type": "linear", "factor": 8},
    "yarn ×4": {"type": "yarn", "factor": 4},
    "yarn ×8": {"type": "yarn", "factor": 8},
}


def row(number, rope="none", quant="none", length=512, value=30.0, reach=1.0, **more):
    entry = {"value": value, "low": None if reach is None else value - reach, "high": None if reach is None else value + reach, "count": 100, "clusters": 8}
    return {
        "id": f"{number:016x}",
        "experiment": "made",
        "status": "ok",
        "error": None,
        "axes": {"rope": ROPES.get(rope, {"type": rope}), "quant": [{"of": quant}], "windows.length": length},
        "labels": {"rope": rope, "quant": quant, "windows.length": str(length)},
        "metrics": {"perplexity": entry},
        "texts": {"perplexity": f"{value:.2f}"},
        "config": {"rope": {}, "quant": [], "data": {}},
        "environment": {"trained_length": 512},
        "seconds": 1.0,
        "tokens_per_second": None,
        "model_tflops_per_second": None,
        "peak_bytes": None,
    } | more


def found_of(rows, tmp_path, **paired):
    found = Findings(tmp_path, [], rows, rows, [])
    vars(found).update(paired={axis: own for axis, own in paired.items()}, interactions={})
    return found
