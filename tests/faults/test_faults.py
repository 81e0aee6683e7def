"""Every write-side call fails once, in every way (fault.c): of a sweep, of what it keeps in the cache, of an export and of a report.  Afterwards
the exit code is 0 or 1 with one line that names a file, there is no half row and no litter, and the same command ends with the rows and files of
an undisturbed run, bit for bit.  A sample is drawn unless --all-faults is given."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from support.program import REPO, TEXT, experiment_of, lasting

OPENS, WRITES, SETTLES, NAMES, REMOVES = ("ENOSPC", "EMFILE", "EACCES"), ("ENOSPC", "EIO", "short"), ("EIO",), ("ENOSPC", "EACCES"), ("EIO", "EACCES")
KINDS = {"open": OPENS, "fopen": OPENS, "write": WRITES, "pwrite": WRITES, "writev": WRITES, "fwrite": WRITES, "fflush": SETTLES, "fsync": SETTLES,
         "close": SETTLES, "fclose": SETTLES, "ftruncate": SETTLES, "rename": NAMES, "mkdir": NAMES, "unlink": REMOVES, "rmdir": REMOVES, "remove": REMOVES}
SHORT = {"length": 64, "truncate": True}
W3 = {"type": "rtn", "bits": 3, "group": 64}
SEARCH = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [64], "short_length": 32, "guard": 1, "grid": {"points": 3}}
# What is run, and below which folder calls fail: results, cache or out.
RUNS = {
    "sweep": ({"windows": SHORT, "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}]}]}, ""),
    "calibration": ({"sweep": None, "windows": SHORT, "quant": [{"match": "layers.0.*", "weight": {"type": "awq", "group": 64, "bits": 3}}],
                     "calibration": {"data": {"path": str(TEXT)}, "samples": 2, "length": 32}}, "cache"),
    "search": ({"data": {"path": str(TEXT), "skip": 1}, "windows": SHORT | {"bos": False}, "sweep": None, "rope": {"type": "yarn", "factor": 2},
                "quant": [{"match": "layers.*", "weight": W3}], "rescale": {"type": "bands", "bands": 2, "search": SEARCH}}, "cache"),
    "export": ({"windows": SHORT, "sweep": None, "quant": [{"match": "layers.*", "weight": W3}]}, "out"),
}
SPARED = ("log.txt", "partial.jsonl", "beat.json", "journal.jsonl")  # without them a cell only says less or takes longer: they never fail it
SAMPLE = {"sweep": 12, "calibration": 4, "search": 2, "export": 4}  # and 2 of the report


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    library = tmp_path_factory.mktemp("library") / "fault.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, REPO / "tests/faults/fault.c", "-ldl"], check=True)
    return library


class Program:
    """A command that writes below the folder `work`, into whose calls faults can be put."""

    def __init__(self, command, work, library, below):
        self.command, self.work, self.library, self.below = command, work, library, work / below
        self.log = work.parent / "calls.txt"
        self.environment = os.environ | {"QROAR_CACHE": str(work / "cache")}

    def run(self, number="", kind=""):
        """Runs it; with a number, its call of that number fails in that way."""
        self.log.unlink(missing_ok=True)
        fault = {"LD_PRELOAD": str(self.library), "FAULT_BELOW": str(self.below), "FAULT_LOG": str(self.log)}
        fault |= {"FAULT_AT": str(number), "FAULT_KIND": kind} if number else {}
        return subprocess.run(self.command, env=self.environment | fault, capture_output=True, text=True, timeout=300, check=False)

    def calls(self):
        """[(number, call, path)] of the last run."""
        return [(int(number), call, path) for number, call, path in (line.split(" ", 2) for line in self.log.read_text().splitlines())]

    def points(self):
        """(number, call, path, kind) of every call of the last run with every way to fail."""
        return [(*call, kind) for call in self.calls() for kind in (*KINDS[call[1]], "kill")]

    def restart(self):
        shutil.rmtree(self.work)
        self.work.mkdir()


def row_of(text):
    """A row without its costs, as every run of its cell must repeat it."""
    return lasting(json.loads(text))


def state(work):
    """{path: content} of all that a run leaves for good, except its logs: of messages, and of a search's scores, which only spare time."""
    found = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file() and path.name not in ("log.txt", "journal.jsonl")):
        if any(part.startswith(".") for part in path.relative_to(work).parts):
            continue  # litter()
        content = path.read_bytes()
        if path.name == "row.json":
            content = row_of(content)
        elif path.name == "rows.jsonl":
            content = [row_of(line) for line in content.splitlines()]
        found[str(path.relative_to(work))] = content
    return found


def differences(found, expected):
    """Paths whose contents differ; the cache may lack a file, which whoever needs it makes again."""
    lacks = {path for path in expected if path.startswith("cache/") and path not in found}
    return [path for path in sorted((found.keys() | expected.keys()) - lacks) if found.get(path) != expected.get(path)]


def litter(work):
    """Files and folders on the way to be something, or that were to be removed, and claims."""
    return [str(path.relative_to(work)) for path in work.rglob("*") if path.name.startswith(".") or path.name.endswith(".tmp") or path.parent.name == "claims"]


def error_lines(process):
    """What a run says on stderr beside its log, and the errors there."""
    return [line for line in process.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line) or " error " in line]


def problems_after(program, process, call, path, expected):
    """What is wrong right after a run in which a call failed."""
    removes = call in ("unlink", "remove", "rmdir") or "/claims/." in path  # what it cannot remove the next run does
    lines = error_lines(process)
    if process.returncode not in (0, 1):
        yield f"exit code {process.returncode}: {process.stderr[-300:]}"
    if process.returncode == 1 and (len(lines) != 1 or str(program.work) not in lines[0]):
        yield f"not one line that names a file: {lines}"
    if process.returncode == 1 and not removes and any(name in path for name in SPARED):
        yield f"it must not fail the run: {lines}"
    found = state(program.work)
    if process.returncode == 0 and not removes and (other := differences(found, expected)):
        yield f"exit code 0, and these differ: {other}"
    if process.returncode == 0 and expected.keys() - found.keys() and str(program.below) not in process.stderr:
        yield f"without a word these lack: {expected.keys() - found.keys()}"
    if (left := litter(program.work)) and not removes:
        yield f"litter: {left}"


def problems_at(program, number, call, path, kind, expected):
    """What is wrong when that call fails in that way, and when the command is run again."""
    program.restart()
    process = program.run(number, kind)
    for file in program.work.rglob("row.json"):
        row = row_of(file.read_bytes())  # which is whole, or this is no JSON
        if row["status"] == "ok" and row != expected.get(str(file.relative_to(program.work))):
            yield f"{file.parent.name} has another row"
    if kind != "kill":
        yield from problems_after(program, process, call, path, expected)
    again = program.run()
    if again.returncode != 0:
        yield f"the rerun's exit code is {again.returncode}: {again.stderr[-300:]}"
    if other := differences(state(program.work), expected):
        yield f"after the rerun these differ: {other}"
    if left := litter(program.work):
        yield f"litter after the rerun: {left}"


def assert_all_faults_are_survived(program, chosen, count):
    process = program.run()
    assert process.returncode == 0, process.stderr
    expected, points = state(program.work), program.points()
    assert len(points) > 20 and not litter(program.work)
    found = []
    for number, call, path, kind in chosen(points, count):
        for problem in problems_at(program, number, call, path, kind, expected):
            found.append(f"{kind} at call {number}, {call} of {path.removeprefix(str(program.work))}: {problem}")
            print(found[-1], flush=True)
    assert not found, "\n".join(found)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_every_call_of_a_run_may_fail(binary, fault_library, chosen, work, name):
    changes, below = RUNS[name]
    if name == "export":
        changes = changes | {"export": {"folder": str(work / "out/model")}}
    file = work.parent / "experiment.yaml"
    file.write_text(json.dumps(experiment_of(changes)), encoding="utf-8")
    command = [binary, "run", file, "--results", work / "results"]
    assert_all_faults_are_survived(Program(command, work, fault_library, below), chosen, SAMPLE[name])


def test_a_disk_that_stalls_is_said_and_loses_nothing(request, binary, fault_library, work):
    if not request.config.getoption("all_faults"):
        pytest.skip("a stall takes 75 s: --all-faults")
    file = work.parent / "experiment.yaml"
    file.write_text(json.dumps(experiment_of(RUNS["sweep"][0])), encoding="utf-8")
    program = Program([binary, "run", file, "--results", work / "results"], work, fault_library, "")
    assert program.run().returncode == 0
    expected = state(work)
    number = next(number for number, call, path in program.calls() if call == "fsync" and "row.json" in path)
    program.restart()
    process = program.run(number, "stall")
    assert process.returncode == 0 and len(re.findall(r"warning cell \w{16}: nothing was computed for 60 s", process.stderr)) == 1, process.stderr
    assert state(work) == expected


def test_every_call_of_a_report_may_fail(binary, finished, fault_library, chosen, work):
    command = [sys.executable, REPO / "scripts/report.py", finished[2], "--out", work / "report"]
    program = Program(command, work, fault_library, "")
    program.environment["QROAR_BINARY"] = str(binary)
    assert_all_faults_are_survived(program, chosen, 2)
