"""model.weights: streamed gives the rows of resident weights, bit for bit, in any kind of cell; several schemes share the reading of weights."""
import os
import time

import pytest

from support.program import TEXT, TINY_BOOKS, lasting, read_rows

CALIBRATION = {"data": {"path": str(TEXT)}, "samples": 4, "length": 64}


def weights(kind, **more):
    return [{"match": "layers.*", "weight": {"type": kind, "bits": 4, "group": 32} | more}]


METHODS = {
    "rtn": {"quant": weights("rtn"), "metrics": ["perplexity", "kl_divergence"]},
    "awq": {"quant": weights("awq"), "calibration": CALIBRATION},
    "gptq": {"quant": weights("gptq"), "calibration": CALIBRATION},
    "smoothquant": {"quant": weights("smoothquant", symmetric=True), "calibration": CALIBRATION},
    "rotated": {"quant": weights("rtn"), "rotation": {"type": "hadamard"}, "rounding": {"draw": 3},
                "kv": {"type": "fake_quant", "key": {"type": "rtn", "bits": 4, "group": 0}, "value": {"type": "rtn", "bits": 4, "group": 0}}},
    "rescaled": {"quant": weights("rtn"), "rescale": {"type": "bands", "bands": 3, "scales": [1.1, 0.9, 1.05]}},
    "searched": {"rescale": {"type": "bands", "bands": 2, "search": {"data": {"path": str(TEXT), "skip": 1, "documents": 1}, "lengths": [64],
                                                                       "strategy": {"type": "gradient", "steps": 1}}},
                 "data": {"path": str(TEXT), "documents": 1}},
    "diagnosed": {"quant": weights("rtn"), "diagnostics": ["logit_noise", "sensitivity", "outlier_counts"]},
    "reference": {"quant": weights("rtn"), "metrics": ["kl_divergence"], "reference": {"path": str(TINY_BOOKS), "dtype": "float64"}},
}


def files(results):
    return {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*.csv")}


def rows(results):
    return {cell: lasting(row) for cell, row in read_rows(results).items()}


def shared(process):
    return process.stderr.count("scored with those of cell")


@pytest.fixture
def both(run, experiment, tmp_path):
    """both(changes) -> (process, results) of a streamed run, after comparing it with a resident one."""

    def run_both(changes):
        file = experiment(changes)
        for kind in ("resident", "streamed"):
            own = os.environ | {"QROAR_CACHE": str(tmp_path / f"cache-{kind}"), "OMP_NUM_THREADS": "1"}  # no calibration of the other's
            process = run("run", file, "--results", tmp_path / kind, "--set", f"model.weights={kind}", env=own)
            assert process.returncode == 0, process.stderr
            assert ("layers are streamed" in process.stderr) == (kind == "streamed")
        assert rows(tmp_path / "streamed") == rows(tmp_path / "resident")
        assert files(tmp_path / "streamed") == files(tmp_path / "resident")
        return process, tmp_path / "streamed"

    return run_both


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_those_of_resident_weights(both, experiment, method):
    changes = METHODS[method] | {"sweep": None}
    both(changes)


def test_schemes_and_lengths_go_through_the_layers_together(both):
    process, results = both({"quant": weights("rtn")})  # two schemes, two lengths
    assert len(rows(results)) == 4 and shared(process) == 3


def test_cells_of_other_weights_do_not(both):
    process, _ = both({"sweep": [{"quant": [weights("rtn"), weights("rtn", symmetric=True), []]}]})
    assert shared(process) == 0


def test_a_killed_run_goes_on(run, start, experiment, tmp_path):
    file = experiment({"quant": weights("rtn"), "windows": {"length": 64, "stride": 8}})
    assert run("run", file, "--results", tmp_path / "whole").returncode == 0
    process = start("run", file, "--results", tmp_path / "killed", "--set", "model.weights=streamed")
    while process.poll() is None and not list((tmp_path / "killed").glob("cells/*/partial.jsonl")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert run("run", file, "--results", tmp_path / "killed", "--set", "model.weights=streamed").returncode == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole") and files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize(("changes", "named"), [
    ({"model.weights": "streaming"}, "known: resident, streamed, auto"),
    ({"model.weights": "streamed", "diagnostics": ["quant_error"]}, "quant_error"),
    ({"model.weights": "streamed", "tasks": [{"type": "passkey", "lengths": [64], "samples": 1}], "windows": {"length": 128}}, "tasks"),
    ({"model.weights": "streamed", "export": {"folder": "out"}}, "export")], ids=["unknown", "diagnostic", "tasks", "export"])
def test_what_cannot_be_streamed_is_refused(refused, experiment, changes, named):
    refused(experiment(changes | {"sweep": None}), "model.weights", named)
