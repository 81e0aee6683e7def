"""Words of others that reach a terminal, a log or a table: nothing in them acts.  Closed descriptors, Ctrl-C, names that are no text, memory limits of cgroups."""
import json
import os
import shutil
import signal
import subprocess
import unicodedata
import uuid
from pathlib import Path

import numpy as np
import pytest
import yaml

from support.program import (TEXT, assert_one_line, copy_of_tiny_books, experiment_of, read_csv, read_rows, tiny_books_tokenizer_hash,
                             write_token_file)
from support.sweep import LONG_CELL, claims, finish, wait_for, windows_done
from support.tasks import PASSKEY, WINDOW, write_lines

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\nb\u202ec"  # sets a title, clears a screen, begins a line, turns the direction
SHOWN = r"a\x1b]0;owned\x07\x1b[2J\nb\u202ec"


def acting(text):
    """What of a text would act on a terminal."""
    return [one for one in text if one != "\n" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")]


@pytest.mark.parametrize("changes", [
    {HOSTILE: 1}, {"rope": {"type": HOSTILE}}, {"metrics": [HOSTILE]}, {"data": {"path": f"missing {HOSTILE}"}}, {"model.path": f"missing {HOSTILE}"},
    {"quant": [{"match": HOSTILE, "weight": {"type": "rtn", "bits": 4}}]}, {"quant": [{"match": f"layers.*.{HOSTILE}", "weight": {"type": "nf4"}}]},
    {"windows.length": WINDOW, "tasks": [PASSKEY | {"name": HOSTILE}]}, {"model.dtype": HOSTILE}, {"sweep": [{HOSTILE: [1, 2]}]}, {"include": HOSTILE},
], ids=["key", "type", "metric", "data", "model", "match", "layer", "task", "dtype", "axis", "include"])
def test_words_of_a_configuration_act_on_no_terminal(run, tmp_path, changes):
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment_of({"sweep": None} | changes) | ({HOSTILE: 1} if HOSTILE in changes else {})), encoding="utf-8")
    for arguments in (("check", file), ("run", file, "--results", tmp_path / "results"), ("check", file, "--set", f"{HOSTILE}=1")):
        process = run(*arguments)
        assert process.returncode == 1
        assert acting(process.stdout + process.stderr) == [] and "owned" in process.stderr
        assert process.stderr.count("\n") == 1


def test_words_of_a_model_folder_act_on_no_terminal(run, experiment, tmp_path):
    tokenizer = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
                 "pre_tokenizer": {"type": "Split", "pattern": {"Regex": f"({HOSTILE}"}, "behavior": "Isolated"}}
    for number, (name, text) in enumerate({"config.json": json.dumps({"model_type": HOSTILE}), "tokenizer.json": json.dumps(tokenizer)}.items()):
        folder = copy_of_tiny_books(tmp_path / f"{number}")
        (folder / "tokenizer.model").unlink() if name == "tokenizer.json" else None
        (folder / name).write_text(text, encoding="utf-8")
        process = run("check", experiment({"model.path": str(folder), "sweep": None}))
        assert process.returncode == 1 and acting(process.stdout + process.stderr) == [] and process.stderr.count("\n") == 1, process.stderr


def test_names_of_documents_act_in_no_log_and_no_table_and_are_no_formulas(run, experiment, tmp_path):
    line = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])
    names = [HOSTILE, "=1+2", "'apostrophe", "plain"]
    data = write_lines(tmp_path / "texts.jsonl", [line | {"id": name, "text": f"{number} " + line["text"]} for number, name in enumerate(names)])
    file = experiment({"data.path": str(data), "sweep": None, "rope": {"type": "yarn", "factor": 2, "name": "plain"}})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert acting(process.stdout + process.stderr) == []
    (cell,) = (tmp_path / "results/cells").iterdir()
    assert acting((cell / "log.txt").read_text(encoding="utf-8")) == []
    windows = (cell / "windows.csv").read_text(encoding="utf-8")
    assert [one["document"] for one in read_csv(windows)] == [HOSTILE.replace("\n", " "), "'=1+2", "''apostrophe", "plain"]
    assert not any(line.startswith(tuple("=+-@")) for line in windows.splitlines())
    assert run("show", tmp_path / "results", "--baseline", next(iter(read_rows(tmp_path / "results")))).returncode == 0


def test_words_of_a_results_folder_act_in_no_table(finished, run, tmp_path):
    results = Path(shutil.copytree(finished[2], tmp_path / "results"))
    plan = json.loads((results / "plan.json").read_text(encoding="utf-8"))
    for cell in plan["cells"]:
        file = results / "cells" / cell["id"] / "row.json"
        row = json.loads(file.read_text(encoding="utf-8"))
        row["axes"] = cell["axes"] = row["axes"] | {HOSTILE: HOSTILE}
        row["metrics"][HOSTILE] = row["metrics"]["perplexity"]
        row["warnings"] = [HOSTILE]
        file.write_text(json.dumps(row), encoding="utf-8")
    (results / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    for format in ("table", "csv", "markdown", "latex", "pgfplots"):
        process = run("show", results, "--format", format)
        assert process.returncode == 0, process.stderr
        assert acting(process.stdout + process.stderr) == []
    assert SHOWN in run("show", results).stdout
    shutil.rmtree(results / "cells" / plan["cells"][0]["id"])
    assert acting(run("show", results).stdout) == []


def test_ctrl_c_says_what_it_leaves_and_the_next_run_goes_on(start, experiment, tmp_path):
    file, results = experiment(LONG_CELL), tmp_path / "results"
    process = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) >= 3, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 75 and stdout == ""
    assert "interrupted: stopping once the window" in stderr and stderr.endswith("run the same command again to go on\n")
    assert claims(results) == []
    _, log = finish(start("run", file, "--results", results))
    assert "were finished already" in log


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_descriptors_lose_what_is_printed_and_no_row(binary, experiment, tmp_path, token_cache, closed):
    file, results = experiment({"sweep": None}), tmp_path / "results"
    command = f'exec "$0" run "$1" --results "$2" {closed}'
    environment = os.environ | {"QROAR_CACHE": str(token_cache)}
    process = subprocess.run(["bash", "-c", command, binary, file, results], env=environment, capture_output=True, text=True, timeout=300)
    (row,) = read_rows(results).values()
    assert row["status"] == "ok"
    for path in results.rglob("*"):  # where nothing else of the program's printing went
        assert not path.is_file() or "perplexity  " not in path.read_text(encoding="utf-8")
    assert process.returncode == (1 if "1>&-" in closed else 0), process.stderr
    if closed == "1>&-":
        assert process.stderr.endswith("cannot write to stdout: Bad file descriptor\n")


def test_names_that_are_no_text_are_refused_or_work(run, experiment, tmp_path):
    bad = os.fsencode(tmp_path) + b"/caf\xe9.yaml"
    shutil.copy(experiment({"sweep": None}), bad)
    for verb in ("check", "run"):
        assert_one_line(run(verb, *([os.fsdecode(bad)])), "caf\\xe9.yaml: its name or its folder's is not UTF-8 text", "rename it")
    results = os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sults")
    assert run("run", experiment({"sweep": None}), "--results", results).returncode == 0
    shown = run("show", results)
    assert shown.returncode == 0 and "perplexity" in shown.stdout


@pytest.fixture
def small_group():
    """A folder of cgroup v1 or v2 inside of this process's own, limited to 1 GiB, and the file that takes a process."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        version_1 = "memory" in controllers.split(",")
        if not version_1 and controllers:
            continue
        root = Path("/sys/fs/cgroup/memory" if version_1 else "/sys/fs/cgroup")
        folder = root / path.lstrip("/") / f"qroar-{uuid.uuid4().hex}" / "inner"
        limit = folder.parent / ("memory.limit_in_bytes" if version_1 else "memory.max")
        try:
            folder.parent.mkdir()
            folder.mkdir()
            limit.write_text(str(1 << 30), encoding="utf-8")
        except OSError:
            for one in (folder, folder.parent):
                one.rmdir() if one.is_dir() else None
            continue
        yield folder / "cgroup.procs"
        folder.rmdir()
        folder.parent.rmdir()
        return
    pytest.skip("no cgroup with a memory limit can be made here (needs root and a writable /sys/fs/cgroup)")


def test_a_window_beyond_the_limit_of_an_outer_cgroup_is_a_failed_cell_and_no_kill(small_group, binary, experiment, tmp_path, token_cache):
    tokens = 100_000  # some 2 GiB in float64: fits this machine, not the group
    write_token_file(tmp_path / "long.tok", tiny_books_tokenizer_hash(), {"long": np.zeros(tokens, dtype="<i4")})
    file = experiment({"data.path": str(tmp_path / "long.tok"), "windows.length": tokens, "model.dtype": "float64", "sweep": None})
    environment = os.environ | {"QROAR_CACHE": str(token_cache)}
    process = subprocess.run(["bash", "-c", 'echo $$ > "$0" && exec "$@"', small_group, binary, "run", file, "--results", tmp_path / "results"],
                             env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 1, process.stderr
    (row,) = read_rows(tmp_path / "results").values()
    assert "a window of 100000 tokens needs about" in row["error"] and "cpu has 0." in row["error"]
