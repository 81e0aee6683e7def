"""Diagnostics in the real program: their tables beside the row, that they change no number, and their figures in the report."""
import json
import math
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from safetensors.torch import load_file, save_file

from support.program import REPO, TEXT, assert_one_line, copy_of_tiny_books, experiment_of, litter, read_csv, read_rows

LAYERS, PROJECTIONS, BANDS = 5, 7, 6  # of tiny-books; bands by default
COLUMNS = ["layer", "site", "band", "snr_db", "max_error", "clipped", "zeroed", "bits_per_weight", "output_snr_db",
           "output_relative_error"]
FOUR_BITS = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}, "input": {"type": "rtn", "bits": 8, "group": 0}}]
DIAGNOSED = {"diagnostics": ["quant_error"], "sweep": [{"quant": [[], FOUR_BITS], "model.dtype": ["float32", "bfloat16"]}]}


def tables(results):
    return {cell: results / "cells" / cell / "diagnostics/quant_error.csv" for cell in read_rows(results)}


@pytest.fixture(scope="module")
def diagnosed(run, tmp_path_factory):
    """(experiment, results) of the four cells of DIAGNOSED, run once."""
    folder = tmp_path_factory.mktemp("diagnosed")
    file = folder / "diagnosed.yaml"
    file.write_text(yaml.safe_dump(experiment_of(DIAGNOSED), sort_keys=False), encoding="utf-8")
    process = run("run", file, "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    return file, folder / "results"


def test_a_cell_has_one_row_per_linear_layer_one_per_band_of_q_and_k_and_one_per_decoder_layer(diagnosed):
    _, results = diagnosed
    for cell, path in tables(results).items():
        lines = read_csv(path.read_text(encoding="utf-8"))
        assert list(lines[0]) == COLUMNS
        lines, layers = lines[:-LAYERS], lines[-LAYERS:]
        assert [line["site"] for line in layers] == [f"layers.{layer}" for layer in range(LAYERS)]
        assert {math.isfinite(float(line["output_snr_db"])) for line in layers} == {read_rows(results)[cell]["axes"]["quant"] != []}
        whole = [line for line in lines if not line["band"]]
        assert len(whole) == LAYERS * PROJECTIONS + 1 and whole[-1]["site"] == "lm_head" and whole[-1]["layer"] == ""
        bands = [(line["site"].split(".")[-1], int(line["layer"]), int(line["band"])) for line in lines if line["band"]]
        assert bands == [(name, layer, band) for layer in range(LAYERS) for name in ("q_proj", "k_proj") for band in range(BANDS)]
        rounded = read_rows(results)[cell]["axes"]["quant"] != []
        for line in lines:
            if rounded and line["layer"]:
                assert 10 < float(line["snr_db"]) < 40 and 10 < float(line["output_snr_db"]) < 40
                assert float(line["bits_per_weight"]) == pytest.approx(4 + 20 / 64)
            else:
                assert (line["snr_db"], line["output_snr_db"], line["max_error"]) == ("inf", "inf", "0")
        assert "quant_error: " in (path.parent.parent / "log.txt").read_text(encoding="utf-8")
        assert read_rows(results)[cell]["config"]["diagnostics"] == ["quant_error"]
    assert not litter(results)


def test_diagnostics_change_no_loss(diagnosed, run, tmp_path):
    file, results = diagnosed
    assert run("run", file, "--results", tmp_path, "--set", "diagnostics=[]").returncode == 0
    plain = {str(row["axes"]): (cell, row) for cell, row in read_rows(tmp_path).items()}
    for cell, row in read_rows(results).items():
        other, plain_row = plain[str(row["axes"])]
        assert other != cell and plain_row["metrics"] == row["metrics"]
        assert not (tmp_path / "cells" / other / "diagnostics").exists()
        windows = [(folder / "windows.csv").read_bytes() for folder in (results / "cells" / cell, tmp_path / "cells" / other)]
        assert windows[0] == windows[1]


@pytest.mark.parametrize("quantizer", ["awq", "smoothquant", "gptq"])
def test_quantizers_that_move_scales_are_compared_in_their_own_coordinates(run, experiment, tmp_path, quantizer):
    changes = {"diagnostics": ["quant_error"], "sweep": None, "calibration": {"data": {"path": str(TEXT)}, "samples": 4, "length": 64},
               "quant": [{"match": "layers.*", "weight": {"type": quantizer, "bits": 4, "group": 64}}]}
    assert run("run", experiment(changes), "--results", tmp_path / "results").returncode == 0
    (path,) = tables(tmp_path / "results").values()
    for line in read_csv(path.read_text(encoding="utf-8")):
        assert line["site"] == "lm_head" or 10 < float(line["output_snr_db"]) < 40, line


def test_a_finished_cell_is_skipped_and_a_repeated_one_gives_the_same_table(diagnosed, run, tmp_path):
    file, results = diagnosed
    copy = shutil.copytree(results, tmp_path / "results")
    assert "4 of 4 cells were finished already" in run("run", file, "--results", copy).stderr
    for path in tables(copy).values():
        path.unlink()
        (path.parent / "of_an_earlier_version.csv").write_text("a\n", encoding="utf-8")
    assert run("run", file, "--results", copy, "--rerun").returncode == 0
    for cell, path in tables(results).items():
        folder = copy / "cells" / cell / "diagnostics"
        assert [file.name for file in folder.iterdir()] == ["quant_error.csv"]
        assert (folder / "quant_error.csv").read_bytes() == path.read_bytes()


def test_the_row_comes_after_the_tables(diagnosed):
    _, results = diagnosed
    for path in tables(results).values():
        assert path.stat().st_mtime_ns <= (path.parent.parent / "row.json").stat().st_mtime_ns


def test_a_table_that_cannot_be_written_leaves_no_row(run, experiment, tmp_path):
    file, results = experiment({"diagnostics": ["quant_error"], "sweep": None}), tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    (cell,) = read_rows(results)
    folder = results / "cells" / cell
    shutil.rmtree(folder / "diagnostics")
    (folder / "row.json").unlink()
    (folder / "diagnostics").write_text("in the way\n", encoding="utf-8")
    process = run("run", file, "--results", results)
    assert process.returncode == 1 and "diagnostics" in process.stderr.splitlines()[-1]
    assert not read_rows(results)


def test_a_failed_cell_has_no_tables(run, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file, results = experiment({"model.path": str(model), "diagnostics": ["quant_error"], "sweep": None}), tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    (path,) = tables(results).values()
    assert path.exists()
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * float("inf")
    save_file(tensors, model / "model.safetensors")
    assert run("run", file, "--results", results).returncode == 1
    ((_, row),) = read_rows(results).items()
    assert row["status"] == "failed" and row["metrics"] == {} and not path.exists()


@pytest.mark.parametrize(("diagnostics", "parts"), [
    (["quant_eror"], ["unknown 'quant_eror'", "did you mean 'quant_error'"]),
    ([{"type": "quant_error", "window": 2}], ["diagnostics[0].window: unknown key", "did you mean 'windows'"]),
    ([{"type": "quant_error", "windows": 0}], ["diagnostics[0].windows"]),
    ([{"type": "quant_error", "bands": 33}], ["diagnostics[0]: 33 bands need as many RoPE pairs and head_dim 64 has 32"]),
    ([{"type": "tail_inflation"}], ["diagnostics[0]: short contexts of 512 tokens are no shorter than the cell's of 64"]),
    ([{"type": "logit_noise", "queries": -1}], ["diagnostics[0].queries"]),
    (["phase", {"type": "outlier_counts", "bands": 33}], ["diagnostics[1]: 33 bands need as many RoPE pairs and head_dim 64 has 32"]),
    (["quant_error", {"type": "quant_error", "windows": 2}], ["diagnostics[1]: 'quant_error' is listed twice"]),
    ("quant_error", ["diagnostics: expected a list"])])
def test_a_bad_diagnostic_is_refused_with_its_place_before_anything_runs(run, experiment, refused, diagnostics, parts):
    file = experiment({"diagnostics": diagnostics, "sweep": None})
    refused(file, f"{file}:", *parts)
    assert_one_line(run("check", file), *parts)


def report(results, out):
    command = [sys.executable, REPO / "scripts/report.py", results, "--out", out]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return (out / "report.md").read_text(encoding="utf-8")


def figures_of(out):
    """What the page draws its figures from."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*)</script>', (out / "report.html").read_text(encoding="utf-8"))]


def test_the_figure_of_errors_shows_the_cells_that_round(diagnosed, tmp_path):
    _, results = diagnosed
    report(results, tmp_path)
    errors = [figure for figure in figures_of(tmp_path) if figure["common"]["value_title"].startswith("Quantization error")]
    shown = {point["cell"] for figure in errors for panel in figure["panels"] for point in panel["points"]}
    assert shown == {cell for cell, row in read_rows(results).items() if row["axes"]["quant"] != []}
    assert {path.name for path in tmp_path.glob("quant_error*.png")} == {"quant_error_dtype_float32.png", "quant_error_dtype_bfloat16.png"}


def test_the_report_says_how_many_rows_it_left_out(diagnosed, tmp_path):
    _, results = diagnosed
    copy = shutil.copytree(results, tmp_path / "results")
    (copy / "plan.json").unlink()  # which knows nothing of more cells
    cell = next(cell for cell, row in read_rows(copy).items() if row["axes"]["quant"] == [])
    for number in range(22):
        shutil.copytree(copy / "cells" / cell, copy / "cells" / f"{number:016x}")
        row = copy / "cells" / f"{number:016x}" / "row.json"
        content = json.loads(row.read_text(encoding="utf-8").replace(cell, f"{number:016x}"))
        content["config"]["seed"] = number + 1
        row.write_text(json.dumps(content), encoding="utf-8")
    text = report(copy, tmp_path)
    assert "The first 24 of 26 rows" in text


OF_ALL_CELLS = ["interpolation_pressure", "phase", "tail_ratios", "outlier_counts", "logit_noise", "sensitivity", "anisotropy"]
WITH_OPTIONS = [{"type": "dynamic_range", "short": 16}, {"type": "aliasing", "distance": 16}]


@pytest.fixture(scope="module")
def looked_at(run, tmp_path_factory):
    """Results of every diagnostic on four cells, plain or linear and exact or in 4 bits."""
    folder = tmp_path_factory.mktemp("looked_at")
    changes = {"diagnostics": [*OF_ALL_CELLS, *WITH_OPTIONS, {"type": "tail_inflation", "short": 16}],
               "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}], "quant": [[], FOUR_BITS]}]}
    file = folder / "looked_at.yaml"
    file.write_text(yaml.safe_dump(experiment_of(changes), sort_keys=False), encoding="utf-8")
    process = run("run", file, "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    return folder / "results"


def table_of(results, kind, rope, quant):
    axes = {cell: row["axes"] for cell, row in read_rows(results).items()}
    cell, = (cell for cell in axes if axes[cell]["rope"]["type"] == rope and (axes[cell]["quant"] != []) == quant)
    return read_csv((results / "cells" / cell / f"diagnostics/{kind}.csv").read_text(encoding="utf-8"))


def test_diagnostics_look_at_the_frequencies_that_a_rescaling_makes(run, experiment, tmp_path):
    """The slope by ln s is that of the evaluated loss; a pair that clip_low stops has turned by omega D less and never turns."""
    file = experiment({"windows": {"length": 256, "truncate": True}, "data.documents": 1, "model.dtype": "float32",
                       "diagnostics": ["sensitivity", "phase", "interpolation_pressure"],
                       "sweep": [{"rope": [{"type": "linear", "factor": factor} for factor in (1.98, 2, 2.02)],
                                  "rescale": [{"type": "pairs", "factor": 4}, {"type": "clip_low", "form": "hard"}]}]})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    nll, tables_of = {}, {}
    for cell, row in read_rows(tmp_path / "results").items():
        place = row["axes"]["rescale"]["type"], row["axes"]["rope"]["factor"]
        nll[place] = row["metrics"]["nll"]["value"]
        tables_of[place] = {kind: read_csv((tmp_path / "results/cells" / cell / f"diagnostics/{kind}.csv").read_text(encoding="utf-8"))
                            for kind in ("sensitivity", "phase", "interpolation_pressure")}
    for rescale in ("pairs", "clip_low"):
        slope = next(float(line["derivative"]) for line in tables_of[rescale, 2]["sensitivity"] if line["parameter"] == "ln_s")
        found = (nll[rescale, 2.02] - nll[rescale, 1.98]) / math.log(2.02 / 1.98)
        assert slope == pytest.approx(found, rel=0.05, abs=0.002)
    last = {kind: next(line for line in tables_of["clip_low", 2][kind] if line["pair"] == "31") for kind in ("phase", "interpolation_pressure")}
    assert last["phase"]["wavelength_tokens"] == "inf" and last["phase"]["wraps_target"] == "0" and last["phase"]["incomplete_target"] == "1"
    assert float(last["interpolation_pressure"]["pressure_rad"]) == 0
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", tmp_path / "results"], capture_output=True, text=True)
    assert written.returncode == 0, written.stderr


@pytest.mark.parametrize("beyond", [False, True], ids=["inside", "beyond"])
def test_diagnostics_of_losses_look_at_the_scored_tokens_that_the_model_sees(run, experiment, tmp_path, beyond):
    """Of overlapping windows each token counts in one; a last target that lies beyond its window counts in none."""
    windows = {"length": 64, "stride": 16, "bos": "start"} | ({"targets": "beyond"} if beyond else {})
    changes = {"windows": windows, "data.max_tokens": 130, "sweep": None,
               "diagnostics": [{"type": "aliasing", "windows": 1000, "distance": 32}, {"type": "sensitivity", "windows": 1000}]}
    process = run("run", experiment(changes), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (cell,) = (tmp_path / "results/cells").iterdir()
    lines = {name: read_csv((cell / f"{name}.csv").read_text(encoding="utf-8")) for name in ("windows", "diagnostics/aliasing", "diagnostics/sensitivity")}
    seen = sum(int(line["tokens"]) - beyond for line in lines["windows"])
    assert sum(int(line["tokens"]) for line in lines["diagnostics/aliasing"] if line["moving"] == "all") == seen
    assert int(lines["diagnostics/sensitivity"][0]["tokens"]) == seen


def test_every_diagnostic_has_its_table_for_a_real_model(looked_at):
    pairs = [line for line in table_of(looked_at, "interpolation_pressure", "linear", False) if line["pair"]]
    assert len(pairs) == 32 and float(pairs[0]["pressure_rad"]) == pytest.approx(64 / 2, rel=1e-6)
    assert len(table_of(looked_at, "interpolation_pressure", "none", False)) == 32 + 2 * BANDS
    assert [float(line["wavelength_tokens"]) for line in table_of(looked_at, "phase", "linear", True)] == pytest.approx(
        [2 * float(line["wavelength_tokens"]) for line in table_of(looked_at, "phase", "none", False)])
    assert len(table_of(looked_at, "tail_inflation", "none", True)) == LAYERS * 2 * BANDS * 2
    for kind in ("tail_ratios", "outlier_counts"):
        assert len(table_of(looked_at, kind, "none", True)) == LAYERS * 2 * 2 * BANDS
    noise = {quant: [float(line["noise"]) for line in table_of(looked_at, "logit_noise", "linear", quant)] for quant in (False, True)}
    assert set(noise[False]) == {0.0} and min(noise[True]) > 0 and len(noise[True]) == (LAYERS + 1) * (1 + 7 + 16 + BANDS)
    assert {line["tir_w"] for line in table_of(looked_at, "tail_inflation", "linear", True) if line["layer"] == "0"} == {"1"}
    by_s = {rope: [float(line["derivative"]) for line in table_of(looked_at, "sensitivity", rope, True) if line["parameter"] == "ln_s"]
            for rope in ("none", "linear")}
    assert set(by_s["none"]) == {0.0} and 0.0 not in by_s["linear"] and len(by_s["linear"]) == (LAYERS + 1) * (1 + BANDS + 32)
    assert len(table_of(looked_at, "dynamic_range", "none", True)) == LAYERS * 4
    assert len(table_of(looked_at, "anisotropy", "none", True)) == LAYERS * 2 * 2 * 9
    assert len(table_of(looked_at, "aliasing", "none", True)) == 4 * 16


def test_the_report_says_of_which_rounding_draw_a_diagnostic_is(run, experiment, tmp_path):
    w3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
    said = {}
    for draws in (1, 2):
        file = experiment({"windows.length": 64, "diagnostics": [{"type": "outlier_counts"}, {"type": "tail_inflation", "short": 16}], "sweep": [{"quant": [w3], "rounding.draw": list(range(draws))}]})
        assert run("run", file, "--results", tmp_path / str(draws)).returncode == 0
        (tmp_path / f"report{draws}").mkdir()
        text = report(tmp_path / str(draws), tmp_path / f"report{draws}")
        said[draws] = [part in text for part in ("Of the first rounding draw of each row", "Of several rounding draws: their mean")]
    assert said == {1: [False, False], 2: [True, True]}


def test_the_report_draws_all_cells_of_a_diagnostic_in_one_figure_but_tail_inflation(looked_at, tmp_path):
    text = report(looked_at, tmp_path)
    for kind in [*OF_ALL_CELLS, *(one["type"] for one in WITH_OPTIONS)]:
        assert text.count(f"({kind}.png)") == 1 and (tmp_path / f"{kind}.svg").exists()
    names = [f"tail_inflation_{rope}_{quant}" for rope in ("none", "linear_x2") for quant in ("none", "w4a8_g64")]  # by configuration, not by hash
    assert all(f"({name}.png)" in text and (tmp_path / f"{name}.png").exists() for name in names)
    figures = figures_of(tmp_path)
    scales = [json.dumps(figure["common"]["heat_scale"]) for figure in figures if figure["kind"] == "heat"]
    assert len(scales) == 4 and len(set(scales)) == 1  # one scale for all cells
    pressure = next(figure for figure in figures if figure["common"]["value_title"] == "Interpolation pressure")
    assert [entry["label"] for entry in pressure["legend"]["scheme"]] in ([], ["linear ×2"])  # plain RoPE has none; cells of one scheme are one line
    assert {point["scheme"] for panel in pressure["panels"] for point in panel["points"]} == {"linear ×2"}
    assert len({point["series"] for panel in pressure["panels"] for point in panel["points"]}) == 1
