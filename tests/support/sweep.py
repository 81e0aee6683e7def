"""A sweep that several processes share: its cells, its claims, and what must be true of the folder once all are done."""
import json
import re
import time

from support.program import lasting, litter, read_rows

W4, W3 = ([{"match": "layers.*", "weight": {"type": "rtn", "bits": bits, "group": 64}}] for bits in (4, 3))
ROPES = [{"type": "none"}, *({"type": name, "factor": 2} for name in ("linear", "ntk", "yarn"))]
SMALL_CELLS = {"sweep": [{"rope": ROPES, "quant": [W4, W3], "windows.length": [128, 256, 512]}]}  # 24
LONG_CELL = {"windows": {"length": 64, "stride": 16}, "sweep": None}  # of some 160 windows, 64 of which go through the model at once


def lasting_rows(results):
    return {cell: lasting(row) for cell, row in read_rows(results).items()}


def rows_file(results):
    """The rows of rows.jsonl in their order, as often as they are there."""
    return [json.loads(line) for line in (results / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def claims(results):
    """The names of all that lies in the folder of claims."""
    folder = results / "claims"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def held(results):
    """The names of the claims alone, without folders that are none yet or none any more."""
    return [name for name in claims(results) if not name.startswith(".")]


def begun_cells(log):
    """Ids of the cells that the process with this log ran, as often as it did."""
    return re.findall(r"info cell ([0-9a-f]{16}) (?!is run by)", log)


def windows_done(results):
    """Finished windows of the cells that are not finished."""
    files = [path for path in results.glob("cells/*/partial.jsonl") if not path.with_name("row.json").exists()]
    return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in files)


def wait_for(condition, *processes, seconds=60):
    """Until it is true; an error when one of the processes ends before."""
    end = time.monotonic() + seconds
    while not condition():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def finish(process):
    """(stdout, stderr) of a process that has to succeed."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout, stderr


def assert_clean(results):
    """Of an ended sweep: rows.jsonl is the rows of the cells, and nobody left anything else."""
    rows = rows_file(results)
    assert {row["id"]: row for row in rows} == read_rows(results) and len(rows) == len(read_rows(results))
    assert claims(results) == [] and not litter(results)
    assert not list(results.glob("cells/*/partial.jsonl"))
