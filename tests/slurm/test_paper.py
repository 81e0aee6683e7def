"""scripts/paper --slurm on a real Slurm: two targets as arrays, and the call behind the jobs that writes tables and verdicts."""
import json
import os
import re
import subprocess
import sys

import yaml

from support.program import REPO

TEXT = " ".join(f"The {number}th report says that {number * 7919 % 1000} offices took {number % 13} years." for number in range(400))


def test_targets_run_as_arrays_and_the_call_behind_them_writes_tables(cluster, binary, token_cache, tmp_path):
    texts, sizes, out = tmp_path / "texts.jsonl", tmp_path / "small.yaml", tmp_path / "out"
    texts.write_text("".join(json.dumps({"id": f"d{k}", "text": TEXT[k * 997:][:4000]}) + "\n" for k in range(5)), encoding="utf-8")
    sizes.write_text(yaml.safe_dump({"include": str(REPO / "paper/models/tiny-books.yaml"), "govreport": str(texts), "lengths": [64, 128],
                                     "shortest": 64, "longest": 128, "documents": 4, "diagnosed_documents": 4, "factors": [4], "fetch": {}}), encoding="utf-8")
    cluster.environment |= {"QROAR_BINARY": str(binary), "QROAR_CACHE": str(token_cache)}
    command = [sys.executable, REPO / "scripts/paper", sizes, "f3", "f20", "claims", "--results", out]
    submitted = cluster.run(*command, "--slurm", "--array 2")
    assert submitted.returncode == 0, submitted.stderr
    assert not (out / "verdicts.json").exists() and not (out / "f3/table.csv").exists()
    jobs = re.findall(r"\bjob (\d+)", submitted.stdout)
    assert len(jobs) == 4  # an array and a job that collects, of each target
    script = next(out.glob("f20/run/submissions/*/array.sbatch")).read_text(encoding="utf-8")
    assert f"#SBATCH --dependency=afterany:{jobs[0]}\n" in script  # not at once with f3, whose cells it may share
    cluster.until(lambda: len(list(out.glob("cells/*/row.json"))) == 9, 180, "nine cells")
    for job in jobs:
        assert set(cluster.wait(job, 120).values()) == {"COMPLETED"}, "\n".join(file.read_text(encoding="utf-8") for file in out.glob("*/run/submissions/*/*.log"))
    before = {path: os.stat(path).st_mtime_ns for path in out.glob("cells/*/row.json")}
    written = subprocess.run(command, env=os.environ | cluster.environment, capture_output=True, text=True, timeout=600, check=False)
    assert written.returncode == 0, written.stderr
    assert before == {path: os.stat(path).st_mtime_ns for path in out.glob("cells/*/row.json")}
    for target, table in {"f3": "table", "f20": "outlier_counts"}.items():
        assert {f"{table}.csv", f"{table}.tex", "report.md", "report.html"} <= {path.name for path in (out / target).iterdir()}
    assert not [entry for entry in json.loads((out / "verdicts.json").read_text(encoding="utf-8")) if entry["experiment"] in ("f3", "f20") and "not finished" in entry["why"]]
