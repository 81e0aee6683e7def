"""Whole experiments against stored rows.  rows.json holds, per cell id, the axes and the metrics; a difference writes rows.received.json
beside it, and scripts/approve takes that for the new truth.  What an id depends on, the axes and the counts must be equal."""
import json
from pathlib import Path

import pytest

from support.program import read_rows

FOLDER = Path(__file__).resolve().parent

# Relative differences of mean NLL.  Other CPUs sum in another order: with MKL, oneDNN and ATen held to AVX2 instead of AVX-512, float32
# moves by 1.3e-8.  bfloat16 keeps 8 bits, so that another order moves roundings of 2^-9 that mostly cancel over 766 tokens: 4.2e-5 in that
# comparison, in which our own attention kernel stayed the AVX-512 one; a CPU without it is allowed some twenty times as much.
# Where computed numbers are rounded onto a coarse grid (calibration, activations, the cache), a last bit can move a whole step: the same
# comparison moves gptq by 4.0e-4, awq by 1.0e-4 and 4-bit activations by 1.5e-5, and five times the largest is allowed.
TOLERANCE = {"float32": 1e-6, "bfloat16": 1e-3, "rounded on the way": 2e-3}
ROUNDED_ON_THE_WAY = ('"awq"', '"gptq"', '"smoothquant"', '"input"', '"kv"')


def tolerance_of(row):
    axes = json.dumps({key: value for key, value in row["axes"].items() if key in ("quant", "kv")})
    return TOLERANCE["rounded on the way" if any(word in axes for word in ROUNDED_ON_THE_WAY) else row["dtype"]]


@pytest.fixture(scope="module")
def received(run, tmp_path_factory):
    results = tmp_path_factory.mktemp("golden")
    # The working directory is this folder, so that the paths in the configuration, and with them the ids, are the same everywhere.
    process = run("run", "golden.yaml", "--results", results, cwd=FOLDER)
    assert process.returncode == 0, process.stderr
    return {cell: {"axes": row["axes"], "dtype": row["config"]["model"]["dtype"], "metrics": row["metrics"]}
            for cell, row in sorted(read_rows(results).items())}


def close(found, expected, tolerance):
    """Are all metrics there, each with its count, and their values and errors near?  The perplexity's relative error is that of the NLL
    times the NLL, about 5 here."""
    if found.keys() != expected.keys():
        return False
    for name, metric in expected.items():
        allowed = tolerance * (10 if name == "perplexity" else 1)
        near = [found[name][field] == pytest.approx(metric[field], rel=allowed if field == "value" else 10 * allowed)
                for field in ("value", "stderr")]
        if not all(near) or found[name]["count"] != metric["count"]:
            return False
    return True


def difference(received, expected):
    """What differs, one line per cell."""
    lines = [f"{cell}: no longer there, or its configuration changed" for cell in expected.keys() - received.keys()]
    lines += [f"{cell}: new: {received[cell]['axes']}" for cell in received.keys() - expected.keys()]
    for cell in expected.keys() & received.keys():
        old, new = expected[cell], received[cell]
        if old["axes"] != new["axes"] or old["dtype"] != new["dtype"] or not close(new["metrics"], old["metrics"], tolerance_of(old)):
            lines.append(f"{cell} {old['axes']}: NLL {old['metrics']['nll']['value']!r} -> {new['metrics']['nll']['value']!r}")
    return sorted(lines)


def dump(rows):
    return "{\n" + ",\n".join(f"{json.dumps(cell)}: {json.dumps(row)}" for cell, row in rows.items()) + "\n}\n"


def test_rows_are_as_approved(received):
    stored = FOLDER / "rows.json"
    expected = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    lines = difference(received, expected)
    if lines:
        (FOLDER / "rows.received.json").write_text(dump(received), encoding="utf-8")
    assert not lines, "\n".join([*lines, "tests/golden/rows.received.json has the new rows; scripts/approve accepts them"])


def test_schemes_and_several_quantizers_are_covered(received, run):
    schemes = {row["axes"]["rope"]["type"] for row in received.values() if "rope" in row["axes"]}
    listed = {entry["name"] for entry in json.loads(run("list", "rope scheme", "--format", "json").stdout)["rope scheme"]}
    assert schemes <= listed and len(schemes) >= 8
    assert len({json.dumps(row["axes"]["quant"]) for row in received.values() if "quant" in row["axes"]}) >= 5
    lengths = {row["axes"]["windows.length"] for row in received.values()}
    assert min(lengths) < 512 < max(lengths)


@pytest.mark.parametrize(("field", "change"), [("value", 3e-6), ("count", 1), ("stderr", 1e-3)])
def test_a_small_change_of_a_number_is_noticed(received, field, change):
    cell = next(cell for cell, row in received.items() if tolerance_of(row) == TOLERANCE["float32"])
    changed = json.loads(json.dumps(received))
    metric = changed[cell]["metrics"]["nll"]
    metric[field] = metric[field] + 1 if field == "count" else metric[field] * (1 + change)
    assert difference(received, received) == []
    assert len(difference(changed, received)) == 1
    assert len(difference({key: row for key, row in received.items() if key != cell}, received)) == 1
