"""The real program on small real experiments: what it runs, skips, repeats and writes."""
import json
import random
import re
import shutil
import time

import pytest
import yaml

from support.program import TEXT, copy_of_tiny_books, lasting, litter, read_csv, read_rows, scale_final_norm
from support.sweep import lasting_rows

ROW_KEYS = ["id", "experiment", "axes", "status", "error", "metrics", "seconds", "tokens_per_second", "model_tflops_per_second",
            "peak_bytes", "bits_per_weight", "bits_per_cached_value", "environment", "config"]
LENGTHS = {"sweep": [{"windows.length": [32, 64]}]}


@pytest.fixture
def copy_of_finished(finished, tmp_path):
    _, file, results = finished
    shutil.copytree(results, tmp_path / "results")
    return file, tmp_path / "results"


def stamps(results):
    return {file: file.stat().st_mtime_ns for file in sorted(results.glob("cells/*/row.json"))}


def rows_file(results):
    return {row["id"]: row for row in map(json.loads, (results / "rows.jsonl").read_text(encoding="utf-8").splitlines())}


# ---- what a run writes

def test_texts_are_those_that_pyyaml_wrote(run, experiment, tmp_path):
    """PyYAML writes line breaks at an end as empty lines in quotes, as in `separator: '\\n\\n  '`, of which yaml-cpp keeps one at most."""
    texts = ["\n", "\n\n", "x\n", "x\n\n", "it's\n\n\n", "a\n\nb", "x"]
    file = experiment({"windows.length": 16, "data.documents": 1, "sweep": [{"windows.protocol": texts}]})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert {row["config"]["windows"]["protocol"] for row in read_rows(tmp_path / "results").values()} == set(texts)


def test_a_run_leaves_one_row_per_cell_with_the_keys_of_the_contract(finished):
    _, _, results = finished
    rows = read_rows(results)
    assert len(rows) == 4
    for cell, row in rows.items():
        assert list(row) == ROW_KEYS
        assert (results / "cells" / cell / "row.json").exists() and re.fullmatch("[0-9a-f]{16}", cell)
        assert row["experiment"] == "small" and row["status"] == "ok" and row["error"] is None
        assert list(row["axes"]) == ["rope", "windows.length"]
        for name in ("perplexity", "nll"):
            assert list(row["metrics"][name]) == ["value", "stderr", "count", "clusters", "low", "high"] + (["link"] if name == "perplexity" else [])
            assert row["metrics"][name]["clusters"] == 2 and row["metrics"][name]["low"] is row["metrics"][name]["high"] is None  # fewer than 4
            assert row["metrics"][name]["count"] == 2 * (row["axes"]["windows.length"] - 1)
        assert min(row[key] for key in ROW_KEYS[6:10]) > 0
        assert row["environment"]["device"] == "cpu" and row["environment"]["commit"] and row["environment"]["started"]
        assert row["config"]["windows"] == {"aggregate": "tokens", "bos": True, "concatenate": False, "length": row["axes"]["windows.length"],
                                            "protocol": "", "score": "all", "tail": "keep", "targets": "inside",
                                            "stride": row["axes"]["windows.length"], "truncate": True}


def test_a_cell_holds_its_windows_its_configuration_and_its_log(finished):
    _, _, results = finished
    for cell, row in read_rows(results).items():
        folder = results / "cells" / cell
        assert sorted(file.name for file in folder.iterdir()) == ["clusters.csv", "log.txt", "resolved.yaml", "row.json", "windows.csv"]
        windows = read_csv((folder / "windows.csv").read_text(encoding="utf-8"))
        assert [list(window) for window in windows] == [["document", "start", "tokens", "nll_sum", "nll_square_sum", "group"]] * 2
        assert [window["document"] for window in windows] == ["kiln", "bridge"]
        tokens = sum(int(window["tokens"]) for window in windows)
        mean = sum(float(window["nll_sum"]) for window in windows) / tokens
        assert tokens == row["metrics"]["nll"]["count"] and mean == pytest.approx(row["metrics"]["nll"]["value"], rel=1e-12)
        assert yaml.safe_load((folder / "resolved.yaml").read_text(encoding="utf-8")) == row["config"]
        assert cell in (folder / "log.txt").read_text(encoding="utf-8")
    assert not litter(results)


def test_rows_jsonl_is_the_rows_of_the_cells(finished):
    _, _, results = finished
    assert rows_file(results) == read_rows(results)


def test_stdout_carries_the_table_and_stderr_the_log(finished, run):
    process, _, results = finished
    assert process.stdout == run("show", results).stdout
    assert process.stdout.splitlines()[0].split() == ["rope", "32", "64"]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in process.stderr.splitlines())
    assert all(cell in process.stderr for cell in read_rows(results))


def test_results_lie_under_results_by_default(run, experiment, tmp_path):
    file = experiment({"sweep": None}, "named.yaml")
    assert run("run", file, cwd=tmp_path).returncode == 0
    assert len(read_rows(tmp_path / "results/named")) == 1


# ---- what a later run does with them

def test_a_second_run_skips_what_is_finished(copy_of_finished, run):
    file, results = copy_of_finished
    before = stamps(results)
    process = run("run", file, "--results", results)
    assert process.returncode == 0 and "4 of 4 cells were finished already" in process.stderr
    assert stamps(results) == before


def test_rerun_computes_everything_again_and_gets_the_same_bits(copy_of_finished, run):
    file, results = copy_of_finished
    before, rows = stamps(results), lasting_rows(results)
    assert run("run", file, "--results", results, "--rerun").returncode == 0
    assert all(stamp != before[path] for path, stamp in stamps(results).items())
    assert lasting_rows(results) == rows


def test_a_resolved_configuration_is_an_experiment_with_the_same_id_and_numbers(finished, run, tmp_path):
    _, _, results = finished
    for cell, row in read_rows(results).items():
        assert run("run", results / "cells" / cell / "resolved.yaml", "--results", tmp_path / cell).returncode == 0
        again = read_rows(tmp_path / cell)[cell]
        assert again["metrics"] == row["metrics"] and again["config"] == row["config"]
        assert len(read_rows(tmp_path / cell)) == 1


def test_only_runs_the_cell_whose_id_begins_so(finished, run, tmp_path):
    _, file, results = finished
    cell = sorted(read_rows(results))[2]
    assert run("run", file, "--results", tmp_path, "--only", cell[:6]).returncode == 0
    assert lasting_rows(tmp_path) == {cell: lasting(read_rows(results)[cell])}


def test_set_changes_the_configuration_and_the_id(finished, run, tmp_path):
    _, file, results = finished
    assert run("run", file, "--results", tmp_path, "--set", "windows.bos=false", "--set", "data.documents=1").returncode == 0
    rows = read_rows(tmp_path)
    assert len(rows) == 4 and not rows.keys() & read_rows(results).keys()
    for row in rows.values():
        assert row["config"]["windows"]["bos"] is False
        assert row["metrics"]["nll"]["count"] == row["axes"]["windows.length"] - 1


def test_the_results_folder_is_no_part_of_the_id(finished, run, tmp_path):
    _, file, results = finished
    shutil.copy(file, tmp_path / "other_name.yaml")
    assert run("run", tmp_path / "other_name.yaml", "--results", tmp_path / "elsewhere").returncode == 0
    assert read_rows(tmp_path / "elsewhere").keys() == read_rows(results).keys()


def test_changed_weights_under_the_same_path_are_noticed(run, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"model.path": str(model), **LENGTHS})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    before = read_rows(tmp_path / "results")
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 0x80  # the sign of the last weight
    (model / "model.safetensors").write_bytes(weights)
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0 and process.stderr.count("changed since its row was written") == 2
    for cell, row in read_rows(tmp_path / "results").items():
        assert row["metrics"]["nll"]["value"] != before[cell]["metrics"]["nll"]["value"]


def test_a_changed_config_json_under_the_same_path_is_noticed(run, experiment, tmp_path):
    """Of a value that stands in no resolved configuration: the cell's id stays."""
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"model.path": str(model), "sweep": None})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    ((cell, before),) = read_rows(tmp_path / "results").items()
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}), encoding="utf-8")
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0 and "changed since its row was written" in process.stderr
    ((again, after),) = read_rows(tmp_path / "results").items()
    assert again == cell and after["metrics"]["nll"]["value"] != before["metrics"]["nll"]["value"]


def test_changed_text_under_the_same_path_is_noticed(run, experiment, tmp_path):
    text = shutil.copy(TEXT, tmp_path / "text.jsonl")
    file = experiment({"data.path": str(text), **LENGTHS})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    before = read_rows(tmp_path / "results")
    text.write_text(text.read_text(encoding="utf-8").replace("The kiln stood", "A kiln stood"), encoding="utf-8")
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    for cell, row in read_rows(tmp_path / "results").items():
        assert row["metrics"]["nll"]["value"] != before[cell]["metrics"]["nll"]["value"]


def test_changed_factors_under_the_same_path_are_noticed(run, experiment, tmp_path):
    factors = tmp_path / "factors.txt"
    factors.write_text(" ".join(["1.5"] * 32), encoding="utf-8")
    file = experiment({"windows.length": 600, "sweep": None, "rope": {"type": "longrope", "factor": 2, "factors": str(factors)}})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    ((cell, before),) = read_rows(tmp_path / "results").items()
    factors.write_text(" ".join(["2.5"] * 32), encoding="utf-8")
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    assert read_rows(tmp_path / "results")[cell]["metrics"]["nll"]["value"] != before["metrics"]["nll"]["value"]


# ---- failures and interruptions

def test_a_failed_cell_is_recorded_and_the_sweep_goes_on_and_a_later_run_tries_only_it_again(run, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    scale_final_norm(model, 3e4)  # logits beyond 65504: infinite in float16, fine in float32
    file = experiment({"model.path": str(model), "sweep": [{"model.dtype": ["float16", "float32"], "windows.length": [32, 64]}]})
    results = tmp_path / "results"
    process = run("run", file, "--results", results)
    assert process.returncode == 1
    rows = read_rows(results)
    failed = {cell for cell, row in rows.items() if row["status"] == "failed"}
    assert len(rows) == 4 and {rows[cell]["axes"]["model.dtype"] for cell in failed} == {"float16"} and len(failed) == 2
    for cell, row in rows.items():
        assert list(row) == ROW_KEYS
        assert (row["error"] is None) == (row["metrics"] != {}) == (cell not in failed)
        assert (results / "cells" / cell / "windows.csv").exists() == (cell not in failed)
    for cell in failed:
        assert "not finite" in rows[cell]["error"]
        assert rows[cell]["error"] in process.stderr and f"failed {cell}" in process.stdout
    before = stamps(results)
    assert run("run", file, "--results", results).returncode == 1
    assert {path.parent.name for path, stamp in stamps(results).items() if stamp != before[path]} == failed


def wait_until(condition, process):
    while not condition() and process.poll() is None:
        time.sleep(0.002)


def test_kills_in_mid_cell_lose_nothing_but_the_cell(run, start, experiment, tmp_path):
    file = experiment({"windows": {"length": 1024, "truncate": True},
                       "sweep": [{"rope": [{"type": "none"}, {"type": "ntk", "factor": 4}, {"type": "yarn", "factor": 4}],
                                  "windows.length": [768, 1024]}]})
    undisturbed, results = tmp_path / "undisturbed", tmp_path / "results"
    assert run("run", file, "--results", undisturbed).returncode == 0
    seconds = max(row["seconds"] for row in read_rows(undisturbed).values())

    moments = random.Random(20240229)
    in_mid_cell = 0
    for _ in range(5):
        finished = set(read_rows(results))
        begun = set(results.glob("cells/*/log.txt")) if results.exists() else set()
        process = start("run", file, "--results", results)
        wait_until(lambda: set(results.glob("cells/*/log.txt")) - begun, process)
        time.sleep(moments.uniform(0, 1.5 * seconds))
        process.kill()
        process.communicate()
        rows = read_rows(results)  # every row that is there is whole
        assert finished <= rows.keys() and all(row["status"] == "ok" for row in rows.values())
        in_mid_cell += any(log.parent.name not in rows for log in results.glob("cells/*/log.txt"))
    assert in_mid_cell >= 1

    assert run("run", file, "--results", results).returncode == 0
    assert lasting_rows(results) == lasting_rows(undisturbed)
    assert rows_file(results) == read_rows(results)
    for cell in read_rows(results):
        assert (results / "cells" / cell / "windows.csv").read_bytes() == (undisturbed / "cells" / cell / "windows.csv").read_bytes()
