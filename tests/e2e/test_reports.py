"""Where a report's numbers come from: scripts/report.py says it when that is no single commit, and so do the reports of this repository."""
import json
import re
import shutil
import subprocess
import sys

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
    assert report.splitlines()[2].startswith(WARNING) == ("-dirty" in commits_in(report) or " to " in commits_in(report))
