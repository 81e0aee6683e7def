"""Where a report's numbers come from: scripts/report.py says it when that is no single commit, and so do the reports of this repository."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from support.program import REPO, read_rows

WARNING = "**Not publishable: "


def committed_reports():
    listed = subprocess.run(["git", "ls-files", "published/*/report.md"], cwd=REPO, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def commits_in(report):
    """The line of the table 'environment'."""
    return re.search(r"^\| commit \| (.*) \|$", report, re.MULTILINE)[1]


@pytest.fixture
def reported(binary, finished, tmp_path):
    """reported([commit]) -> the report of the finished cells, made as if at these commits, in turn."""

    def report(commits):
        results = tmp_path / "results"
        shutil.copytree(finished[2], results, dirs_exist_ok=True)
        for number, row in enumerate(read_rows(results).values()):
            row["environment"]["commit"] = commits[number % len(commits)]
            (results / "cells" / row["id"] / "row.json").write_text(json.dumps(row), encoding="utf-8")
        command = [sys.executable, REPO / "scripts/report.py", results, "--out", tmp_path / "out"]
        subprocess.run(command, env={"QROAR_BINARY": str(binary)}, check=True, capture_output=True, timeout=300)
        return (tmp_path / "out/report.md").read_text(encoding="utf-8")

    return report


@pytest.mark.parametrize(("commits", "said"), [
    (["aaaa1111bbbb"], None),
    (["aaaa1111bbbb-dirty"], "made from a tree with uncommitted changes (commit aaaa1111bbbb-dirty)"),
    (["aaaa1111bbbb", "cccc2222dddd-dirty"], "made from a tree with uncommitted changes (commit cccc2222dddd-dirty)"),
    (["aaaa1111bbbb", "cccc2222dddd"], "made from several commits (commit aaaa1111bbbb, cccc2222dddd)")])
def test_a_report_of_no_single_clean_commit_says_so_at_its_top(reported, commits, said):
    lines = reported(commits).splitlines()
    if said is None:
        assert not any(line.startswith(WARNING) for line in lines)
    else:
        assert lines[2] == f"{WARNING}{said}. Run it again from a clean tree.**"


@pytest.mark.parametrize("path", committed_reports())
def test_a_committed_report_of_a_dirty_tree_says_so_at_its_top(path):
    report = (REPO / path).read_text(encoding="utf-8")
    is_mixed = " to " in commits_in(report) and not path.startswith("published/paper/")  # whose targets have commits of their own
    assert report.splitlines()[2].startswith(WARNING) == ("-dirty" in commits_in(report) or is_mixed)


def test_rows_of_several_sizes_have_a_figure_of_loss_against_size(binary, finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished[2], results)
    (results / "plan.json").unlink()  # which has other axes
    # By length, and two rows of each as if they were a quantizer's: the worse one has fewer bits, so that it is on the frontier all the same.
    for row in read_rows(results).values():
        is_linear = row["axes"].pop("rope")["type"] == "linear"
        row["axes"]["quant"] = row["config"]["quant"] = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}] if is_linear else []
        row["config"]["rope"], row["bits_per_weight"] = {"type": "none"}, 4.5 if is_linear else 16
        (results / "cells" / row["id"] / "row.json").write_text(json.dumps(row), encoding="utf-8")
    subprocess.run([sys.executable, REPO / "scripts/report.py", results, "--out", tmp_path / "out"], env={"QROAR_BINARY": str(binary)}, check=True,
                   capture_output=True, timeout=300)
    report = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "| quantizer | bits per weight | 32 | 64 |" in report
    section = report.split("## Loss against size")[1].split("## ")[0]
    assert "| 1 | none | 16 | 32, 64 |" in section and "| 2 | rtn W4 g64 | 4.5 | 32, 64 |" in section
    assert (tmp_path / "out/pareto_bits_per_weight.png").stat().st_size > 0


def test_a_folder_that_looks_like_an_option_and_rows_without_their_costs_are_reported(binary, finished, tmp_path):
    results = tmp_path / "-dash"
    shutil.copytree(finished[2], results)
    for row in read_rows(results).values():
        kept = {name: value for name, value in row.items() if name not in ("seconds", "tokens_per_second", "model_tflops_per_second", "peak_bytes")}
        (results / "cells" / row["id"] / "row.json").write_text(json.dumps(kept), encoding="utf-8")
    process = subprocess.run([sys.executable, REPO / "scripts/report.py", "--", "-dash"], cwd=tmp_path, env={"QROAR_BINARY": str(binary)}, capture_output=True,
                             text=True, timeout=300, check=False)
    assert process.returncode == 0 and process.stdout == "-dash/report.md\n", process.stderr


def test_ctrl_c_is_one_line(finished, tmp_path):
    program = tmp_path / "qroar"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 60\n", encoding="utf-8")
    program.chmod(0o755)
    command = [sys.executable, REPO / "scripts/report.py", finished[2], "--out", tmp_path / "out"]
    with subprocess.Popen(command, env=os.environ | {"QROAR_BINARY": str(program)}, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (tmp_path / "asked").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == "report: interrupted; run it again\n" and process.returncode == 130


def test_rows_over_different_texts_are_not_ranked_against_each_other(binary, run, experiment, tmp_path):
    texts = []
    for name in ("a", "b"):
        texts.append({"path": str(tmp_path / f"{name}.jsonl"), "name": name})
        lines = [json.dumps({"id": f"{name}{k}", "text": f"{name} report {k} " * 40}) for k in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    quant = [[], [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}, "name": "W3"}]]
    file = experiment({"data": None, "sweep": [{"data": texts, "quant": quant}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    subprocess.run([sys.executable, REPO / "scripts/report.py", tmp_path / "results"], env={"QROAR_BINARY": str(binary)}, check=True, capture_output=True)
    section = (tmp_path / "results/report.md").read_text(encoding="utf-8").split("## Loss against size")[1].split("## ")[0]
    assert "best at its size or below (data) |" in section and re.search(r"\| 2 \| W3 \| [\d.]+ \| a, b \|", section)


def test_the_frontier_has_what_no_smaller_row_is_as_good_as():
    sys.path.insert(0, str(REPO / "scripts"))
    from reporting.pareto import frontier

    assert frontier([(4, 2.0, "b"), (3, 3.0, "a"), (4, 1.5, "c"), (5, 1.5, "d"), (16, 1.0, "e"), (3, 3.5, "f")]) == [(3, 3.0, "a"), (4, 1.5, "c"), (16, 1.0, "e")]
