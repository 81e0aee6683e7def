"""Twenty thousand cells in one sweep: memory stays flat, and `show`, `run` that finds all of them finished and `collect` take less than 5 s each.  A tier of
scripts/test by name (soak), since it takes a quarter of an hour."""
import json
import os
import resource
import statistics
import subprocess
import time

from support.program import experiment_of, read_rows

CELLS, MOST_SECONDS, MOST_GROWTH = 20_000, 5, 1.05


def test_twenty_thousand_cells(binary, tmp_path):
    file, results = tmp_path / "experiment.yaml", tmp_path / "results"
    file.write_text(json.dumps(experiment_of({"data.documents": 1, "windows.length": 16, "sweep": [{"seed": list(range(CELLS))}]})), encoding="utf-8")
    environment = os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}

    def timed(*arguments):
        """Returns the seconds that a command takes, its output and its largest memory so far among all commands."""
        start = time.monotonic()
        process = subprocess.run([binary, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr[-2000:]
        return time.monotonic() - start, process.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024

    seconds, _, largest = timed("run", file, "--results", results)
    print(f"run: {seconds:.0f} s, {1000 * seconds / CELLS:.1f} ms a cell, {largest:.0f} MiB")
    rows = sorted(read_rows(results).values(), key=lambda row: row["environment"]["ended"])
    assert len(rows) == CELLS and all(row["status"] == "ok" for row in rows)
    early, late = (statistics.median(row["peak_bytes"] for row in part) for part in (rows[1000:2000], rows[-1000:]))
    print(f"peak of a cell: {early / 2**20:.1f} MiB early, {late / 2**20:.1f} MiB late")
    times = {}
    for name, *arguments in (("show", "show", results), ("run", "run", file, "--results", results), ("collect", "collect", results),
                             ("show csv", "show", results, "--format", "csv")):
        times[name], out, largest = timed(*arguments)
        print(f"{name}: {times[name]:.2f} s, {len(out)} bytes, {largest:.0f} MiB")
    assert late <= MOST_GROWTH * early
    assert max(times.values()) < MOST_SECONDS, times
