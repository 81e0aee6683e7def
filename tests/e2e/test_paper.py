"""scripts/paper: targets of seconds on tiny-books, killed and gone on; what it refuses; what becomes of its verdicts."""
import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest
import yaml

from support.checkout import Checkout
from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))

from reporting.labels import MOST  # noqa: E402
from reporting.rows import Findings  # noqa: E402

LOADER = SourceFileLoader("script", str(REPO / "scripts/paper"))
script = module_from_spec(spec_from_loader("script", LOADER))
LOADER.exec_module(script)

PAPER, EXPERIMENTS = REPO / "paper", REPO / "experiments/paper"
TINY = PAPER / "models/tiny-books.yaml"
SIZES = sorted((PAPER / "models").glob("*.yaml"))
TARGETS = ["t1", "t2", "t3", "f1", "f2", "f3", "f4", "f5", "f20", "f21", "causes"]
TEXT = " ".join(f"The {number}th report says that {number * 7919 % 1000} offices took {number % 13} years." for number in range(400))


@pytest.fixture
def sizes(tmp_path):
    """The path of sizes that take seconds, with texts of their own."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"id": f"d{k}", "text": TEXT[k * 997:][:4000]}) + "\n" for k in range(5)), encoding="utf-8")
    changed = {"include": str(PAPER / "models/tiny-books.yaml"), "govreport": str(texts), "lengths": [64, 128], "shortest": 64, "longest": 128, "documents": 4,
               "diagnosed_documents": 4, "factors": [4], "fetch": {}}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    return path


@pytest.fixture
def begin(binary, token_cache, tmp_path):
    environment = os.environ | {"QROAR_BINARY": str(binary), "QROAR_CACHE": str(token_cache)}

    def start(*arguments):
        command = [sys.executable, REPO / "scripts/paper", "--results", tmp_path / "out", *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)

    return start


@pytest.fixture
def paper(begin):
    def run_it(*arguments):
        process = begin(*arguments)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_it


def read_sizes(path):
    sizes = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read_sizes(path.parent / sizes["include"]) | sizes if "include" in sizes else sizes


def file_of(name):
    return (PAPER if name == "claims" else EXPERIMENTS) / f"{name}.yaml"


def filled(name, sizes):
    return yaml.safe_load(script.filled(file_of(name), sizes))


def rows_of(experiment):
    """Yields the axes of every cell."""
    for block in experiment["sweep"]:
        for values in itertools.product(*block.values()):
            yield dict(zip(block, values))


def at(axes, experiment, axis):
    """Returns the value of an axis, or that of the experiment behind it."""
    value = axes.get(axis, experiment.get(axis))
    return {"rescale": {"type": "none"}, "quant": []}.get(axis) if value is None else value


@pytest.mark.parametrize("path", SIZES, ids=lambda path: path.stem)
def test_every_claim_names_rows_that_its_target_computes(path):
    sizes = read_sizes(path)
    experiments = {target: filled(target, sizes) for target in TARGETS}
    claims = filled("claims", sizes)
    assert len(claims) == 31 and len({claim["id"] for claim in claims}) == 31
    for claim in claims:
        experiment = experiments[claim["target"]]
        wanted = [part[key] for part in (claim, claim.get("less", {})) for key in ("row", "against") if key in part]
        for row in wanted:
            assert any(all(at(axes, experiment, axis) == value for axis, value in row.items()) for axes in rows_of(experiment)), (claim["id"], row)
        for axis, value in claim.get("between", {}).items():
            assert any(at(axes, experiment, axis) == value for axes in rows_of(experiment)), (claim["id"], axis)


@pytest.mark.parametrize("path", SIZES, ids=lambda path: path.stem)
def test_full_precision_in_16_bits_has_the_draws_of_what_is_quantized_and_in_float32_one(path):
    sizes = read_sizes(path)
    for target in TARGETS:
        draws = {}
        for axes in rows_of(filled(target, sizes)):
            if "model.dtype" not in axes and "rounding.draw" in axes:
                draws.setdefault(bool(axes.get("quant")), set()).add(axes["rounding.draw"])
        if True in draws and target != "causes":  # in which nothing quantized is compared with full precision
            assert draws == {True: set(sizes["draws"]), False: {0} if sizes["model"]["dtype"] == "float32" else set(sizes["draws"])}, target


def test_a_model_in_16_bits_gets_tables_reports_and_verdicts(paper, sizes, tmp_path):
    own = yaml.safe_load(sizes.read_text(encoding="utf-8"))
    calibration = {"data": {"path": own["govreport"]}, "samples": 4, "length": 32}
    model = {"path": "configs/models/tiny-books", "dtype": "bfloat16"}
    sizes.write_text(yaml.safe_dump(own | {"model": model, "draws": [0, 1, 2], "calibration": calibration}), encoding="utf-8")
    process = paper(sizes, "f2", "claims")
    assert process.returncode == 0, process.stderr
    tables = {path.name for path in (tmp_path / "out/f2").iterdir()}
    assert {"table.csv", "paired_quant.csv", "interaction_rope_quant.csv", "report.html"} <= tables
    verdicts = {entry["id"]: entry for entry in json.loads((tmp_path / "out/verdicts.json").read_text(encoding="utf-8"))}
    assert verdicts["together-awq"]["interval"] and "draw" not in verdicts["together-awq"]["why"]


@pytest.mark.parametrize("name", [*TARGETS, "claims"])
def test_the_files_have_the_sizes_of_the_papers_model_and_take_those_of_others(name):
    llama, tiny = (read_sizes(PAPER / f"models/{model}.yaml") for model in ("llama2-7b", "tiny-books"))
    assert filled(name, llama) == yaml.safe_load(file_of(name).read_text(encoding="utf-8")) != filled(name, tiny)
    of_llama = {"Llama-2-7b-hf"} | ({"32768"} if name != "claims" else set())  # which quote the papers' lengths
    assert not of_llama & set(re.findall(r"[\w-]+", json.dumps(filled(name, tiny))))


def test_a_killed_call_goes_on_targets_share_their_cells_and_all_is_published(begin, paper, sizes, tmp_path, binary):
    out = tmp_path / "out"
    process = begin(sizes, "f3")
    for _ in range(1200):
        if list(out.glob("cells/*/row.json")) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    before = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/row.json")}
    assert 0 < len(before) < 6 and process.returncode == 75
    assert not list(out.glob("f3/*.csv"))

    finished = paper(sizes, "f3", "f20", "claims")
    assert finished.returncode == 0, finished.stderr
    after = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/row.json")}
    assert len(after) == 6 + 3 and before.items() <= after.items()
    assert {path.name for path in (out / "f3/cells").iterdir()} == {cell["id"] for cell in json.loads((out / "f3/plan.json").read_text())["cells"]}
    tables = {path.name for path in (out / "f3").iterdir()}
    assert {f"{name}.{ending}" for name in ("table", "paired_ntk") for ending in ("csv", "tex", "md", "dat")} | {"report.md"} <= tables
    assert {"as_in_the_paper.png", "as_in_the_paper.svg"} <= tables
    of_f20 = {path.name for path in (out / "f20").iterdir()}
    assert {f"outlier_counts.{ending}" for ending in ("csv", "tex", "md", "dat", "png")} <= of_f20 and "table.tex" not in of_f20
    with open(out / "f3/paired_ntk.csv", encoding="utf-8", newline="") as file:
        rows = {(row["windows.length"], row["rope"], row["rope.factor"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    for (length, rope, factor), row in rows.items():  # YaRN less NTK under the same factor
        difference = float(row["nll"]) - float(rows[length, "NTK", factor]["nll"])
        assert (row["Δnll"] == "") if rope == "NTK" else float(row["Δnll"]) == pytest.approx(difference)
    assert "left out" not in (out / "f3/table.md").read_text(encoding="utf-8")
    assert (out / "f3/table.tex").read_text(encoding="utf-8").count("\\end{table}") == 2

    verdicts = {entry["id"]: entry for entry in json.loads((out / "verdicts.json").read_text(encoding="utf-8"))}
    assert set(verdicts["yarn-better"]) == {"id", "claim", "source", "experiment", "lengths", "effect", "interval", "unit", "verdict", "why"}
    low, high = verdicts["yarn-better"]["interval"]
    assert low < verdicts["yarn-better"]["effect"] < high
    assert verdicts["yarn-15-percent"]["verdict"] == "not comparable"
    assert verdicts["cost-short"]["why"] == "t1 has not run; call scripts/paper with t1"
    assert 0 <= verdicts["outliers-move"]["effect"] <= 1 or "no intervals" in verdicts["outliers-move"]["why"]
    assert (out / "verdicts.md").read_text(encoding="utf-8").count("\n") == len(verdicts) + 2
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "YaRN is up to 15 % better than NTK" in page and "f3/effect" not in page.split("<script")[0]
    text = (out / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"\]\((\S+\.(?:png|svg|pdf))\)", text)
    assert pictures and all((out / name).is_file() for name in pictures) and "## f20" in text and "## t1" not in text

    again = paper(sizes, "f3")
    assert again.returncode == 0
    assert after == {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/row.json")}

    checkout = Checkout(tmp_path / "checkout", binary, out, "results/paper/small")
    checkout.refused("its pages, or the tables of f20, were made from other rows")  # the checkout's commit is in the rows and on no page
    out.rename(tmp_path / "of_before")
    assert paper(sizes, "f3", "f20", "claims", "--results", checkout.results).returncode == 0
    published = checkout.publish()
    assert published.returncode == 0 and published.stdout == f"{checkout.folder}/published/paper/small/report.md\n", published.stderr
    shown = {f"paper/small/{name}" for name in [*pictures, "report.md", "verdicts.json", "verdicts.md", "f3/table.csv", "f3/table.tex", "f3/table.dat"]}
    assert shown <= set(checkout.published()) and not [name for name in checkout.published() if "cells" in name or name.endswith(".html")]
    with tarfile.open(checkout.folder / "published/paper/small/rows.tar.xz") as archive:
        cells = {f"paper/small/{row.relative_to(checkout.results)}" for row in checkout.results.glob("f*/cells/*/row.json")}
        assert cells and cells <= set(archive.getnames())
    older = checkout.head()
    checkout.commit()
    newer = checkout.head()
    for row in checkout.results.glob("f20/cells/*/row.json"):
        row.write_text(row.read_text(encoding="utf-8").replace(older, newer), encoding="utf-8")
    assert paper(sizes, "f3", "f20", "claims", "--results", checkout.results).returncode == 0
    assert checkout.publish().returncode == 0  # targets may run at commits of their own
    row = next(checkout.results.glob("f20/cells/*/row.json")).resolve()
    kept = row.read_text(encoding="utf-8")
    row.write_text(kept.replace(newer, "0123456789ab"), encoding="utf-8")
    checkout.refused("made from several commits", "0123456789ab")
    row.unlink()
    checkout.refused("1 of ", "cells are missing", row.parent.name)


@pytest.mark.parametrize("arguments, said", [
    (["tiny-bocks"], "unknown model 'tiny-bocks'; did you mean tiny-books?"),
    (["tiny-books", "f22"], "unknown target 'f22'; did you mean f2"),
    (["tiny-books", "t1", "--devices", "all", "--slurm", ""], "--devices and --slurm exclude each other"),
    (["tiny-books", "t1", "--slurm", "--partition 'a"], "--slurm \"--partition 'a\": no closing quotation"),
    (["/nowhere.yaml", "t1"], "/nowhere.yaml: no such file"),
])
def test_bad_words_are_one_line_and_nothing_is_written(paper, tmp_path, arguments, said):
    process = paper(*arguments)
    assert process.returncode == 1 and process.stdout == ""
    assert process.stderr.startswith(f"paper: {said}") and process.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text, said", [
    ("lengths: [1", "while parsing"), ("- 1", "expected a map of sizes"), ("{lengths: [64]}", "lacks model, of_the_papers, "), ("include: no.yaml", "no.yaml"),
    ("include: 3", "bad.yaml: include: expected the name of a file of sizes, not 3"), ("include: bad.yaml", "bad.yaml: include: bad.yaml includes this file again"),
    ("fetch:", "bad.yaml: fetch: expected a map of FILE: COMMAND"), ("fetch: {data: 3}", "bad.yaml: fetch: expected a map of FILE: COMMAND"),
    ("govreport: 2024-01-01", "bad.yaml: govreport: YAML reads it as a date"), (f"{{include: {TINY}, model: tiny}}", "bad.yaml: model: expected a map"),
    (f"{{include: {TINY}, document: 3}}", "bad.yaml: unknown size 'document'; did you mean documents?"),
    ("lengths: " + "[" * 5000, "bad.yaml: lists or maps in each other"), ("govreport: 2024-13-01", "bad.yaml: month must be in 1..12"),
    ("lengths: &a [*a]", "bad.yaml: lengths: holds itself"), ("include: .", "bad.yaml: include: expected the name of a file"),
    ('include: "a\\0"', "bad.yaml: include: expected the name of a file"),
    (f"{{include: {TINY}, of_the_papers: maybe}}", "of_the_papers: expected true or false"),
    (f"{{include: {TINY}, longest: 96}}", "bad.yaml: longest: 96 is none of lengths [512, 4096]"),
])
def test_bad_sizes_are_one_line(paper, tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    process = paper(path, "f3")
    assert process.returncode == 1 and said in process.stderr and process.stderr.count("\n") == 1, process.stderr
    assert not (tmp_path / "out").exists()


def test_one_length_and_texts_with_any_name_make_the_papers_figures(paper, sizes, tmp_path, binary, monkeypatch):
    monkeypatch.setenv("QROAR_BINARY", str(binary))
    texts = tmp_path / "té_xts 😀.jsonl"
    changed = yaml.safe_load(sizes.read_text(encoding="utf-8"))
    (tmp_path / "texts.jsonl").rename(texts)
    changed |= {"govreport": str(texts), "lengths": [128], "shortest": 128, "factors": [2, 4], "draws": [0], "more_documents": 4}
    sizes.write_text(yaml.safe_dump(changed), encoding="utf-8")
    process = paper(sizes, "f3")
    assert process.returncode == 0, process.stderr
    found = Findings.of(tmp_path / "out/f3", [])
    (figure,) = script.paper_shown.shown("f3", found)
    by_length, _, by_factor, _ = figure.panels
    of_factor_8 = sorted(point["value"] for point in by_factor["points"] if point["x"] == 8)
    assert sorted(point["value"] for point in by_length["points"]) == of_factor_8 and len(by_factor["points"]) == 6
    assert max(map(len, figure.names())) <= MOST
    assert script.paper_shown.sensitivity(found)["points"] == []  # which compares lengths


def test_what_cannot_be_read_is_the_reason_of_its_claims_alone_and_other_sizes_are_not_judged(paper, sizes, tmp_path):
    out = tmp_path / "out"
    assert paper(sizes, "f3", "f20", "claims").returncode == 0

    def judged(*arguments, code=0):
        process = paper(*arguments, "claims")
        assert process.returncode == code and "Traceback" not in process.stderr, process.stderr
        return {entry["id"]: entry for entry in json.loads((out / "verdicts.json").read_text(encoding="utf-8"))}, process

    was, _ = judged(sizes)
    assert "The papers' tables and figures on small" in (out / "report.md").read_text(encoding="utf-8")
    table = next(path for path in out.glob("cells/*/diagnostics/outlier_counts.csv"))
    kept = table.read_text(encoding="utf-8")
    for change in (lambda path: path.write_text(kept.replace("fraction_low", "part_low"), encoding="utf-8"), lambda path: path.unlink()):
        for path in out.glob("cells/*/diagnostics/outlier_counts.csv"):
            change(path)
        now, _ = judged(sizes)
        assert "outlier_counts.csv: " in now["outliers-move"]["why"] and "--rerun" in now["outliers-move"]["why"]
        assert now["yarn-better"] == was["yarn-better"]
    plan = out / "f20/run/plan.json"
    (out / "f20/run/plan.json").write_text("{", encoding="utf-8")
    now, _ = judged(sizes)
    assert now["outliers-move"]["why"].startswith(f"{plan}: is not the plan") and now["yarn-better"] == was["yarn-better"]

    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"include": "small.yaml", "lengths": [64], "longest": 64}), encoding="utf-8")
    now, _ = judged(other)
    assert now["yarn-better"]["why"] == "f3 is not finished with this model and these sizes; call scripts/paper with f3"
    row = next((out / "f3/cells").glob("*/row.json"))
    row.write_text(json.dumps(json.loads(row.read_text(encoding="utf-8")) | {"status": "failed", "error": "no memory", "metrics": {}}), encoding="utf-8")
    now, _ = judged(sizes)
    assert now["yarn-better"]["why"].startswith("f3: 1 of 6 cells failed or have no row")


def test_verdicts_of_before_do_not_outlive_a_call_that_fails(paper, sizes, tmp_path, binary):
    out = tmp_path / "out"
    assert paper(sizes, "claims").returncode == 0 and (out / "verdicts.json").is_file()
    Checkout(tmp_path / "checkout", binary, out, "results/paper/small").refused("has no finished target; scripts/paper MODEL makes them")
    (out / "verdicts.md").unlink()
    (out / "verdicts.md").mkdir()
    process = paper(sizes, "claims")
    assert process.returncode == 1 and "Traceback" not in process.stderr and not (out / "verdicts.json").exists() and not (out / "report.md").exists()


def test_a_table_that_cannot_be_written_is_one_line_and_other_targets_are_made(paper, sizes, tmp_path):
    (tmp_path / "out/f3/report.md").mkdir(parents=True)
    process = paper(sizes, "f3", "f20", "claims")
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1] == f"paper: f3: {tmp_path / 'out/f3/report.md'}: Is a directory; see to it and call this again"
    assert (tmp_path / "out/f20/report.html").is_file() and (tmp_path / "out/report.html").is_file() and not (tmp_path / "out/f3/rows.sha256").exists()


def test_ctrl_c_is_one_line(begin, sizes, tmp_path):
    changed = yaml.safe_load(sizes.read_text(encoding="utf-8")) | {"proof_pile": "data/nowhere.jsonl", "fetch": {"data/nowhere.jsonl": f"touch {tmp_path}/asked; exec sleep 60"}}
    sizes.write_text(yaml.safe_dump(changed), encoding="utf-8")
    process = begin(sizes, "t2")
    for _ in range(600):
        if (tmp_path / "asked").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and "Traceback" not in err and err.splitlines()[-1] == "paper: interrupted; call it again to go on"


def test_a_target_without_its_text_is_left_out_and_the_others_are_checked(paper, sizes, tmp_path):
    changed = yaml.safe_load(sizes.read_text(encoding="utf-8")) | {"proof_pile": "data/nowhere.jsonl", "fetch": {"data/nowhere.jsonl": "exit 3"}}
    sizes.write_text(yaml.safe_dump(changed), encoding="utf-8")
    process = paper(sizes, "f20", "t2", "--check")
    assert process.returncode == 1 and "f20.yaml: 3 jobs" in process.stdout
    assert process.stderr.splitlines()[-1].startswith("paper: without t2: data/nowhere.jsonl is not to be had (exit 3 failed")
    assert not (tmp_path / "out/t2.yaml").exists() and not (tmp_path / "out/cells").exists()


@pytest.mark.parametrize("options", [["--check"], ["--slurm", "--gpus 1"], []])
def test_too_few_documents_that_are_long_enough_are_said_before_anything_of_the_target_runs(paper, sizes, tmp_path, options):
    changed = yaml.safe_load(sizes.read_text(encoding="utf-8")) | {"more_documents": 6, "long_longest": 100_000}
    sizes.write_text(yaml.safe_dump(changed), encoding="utf-8")
    process = paper(sizes, "f4", "f5", *options)
    assert process.returncode == 1 and not (tmp_path / "out/cells").exists()
    few, short = process.stderr.splitlines()[-2:]
    assert few.startswith("paper: f4: ") and few.endswith(f"5 of 5 documents have at least data.min_tokens 128 tokens; ask for fewer; the sizes are those of {sizes}")
    assert "all 5 documents are shorter than data.min_tokens 100000" in short
