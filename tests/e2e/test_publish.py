"""scripts/publish, in a small repository of its own: what it keeps of a results folder, and what it refuses."""
import json
import re
import shutil
import tarfile

import pytest

from support.checkout import Checkout
from support.program import REPO, assert_one_line


@pytest.fixture
def checkout(tmp_path, binary, finished):
    return Checkout(tmp_path / "checkout", binary, finished[2])


def test_report_figures_and_paired_tables_are_published_as_one(checkout):
    old = checkout.folder / "published/small"
    old.mkdir(parents=True)
    (old / "of_before.png").write_text("an older figure", encoding="utf-8")
    process = checkout.publish("--baseline", "rope=none")
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{checkout.folder}/published/small/report.md\n"
    figures = ("effect_rope", "perplexity")
    files = [*(f"{name}.{kind}" for name in figures for kind in ("png", "svg")), *(f"pdf/{name}_{width}.pdf" for name in figures for width in (1, 2))]
    assert checkout.published() == sorted(f"small/{name}" for name in [*files, "paired_rope.md", "report.md", "rows.tar.xz"])
    assert " baseline " in (old / "paired_rope.md").read_text(encoding="utf-8")
    report = (old / "report.md").read_text(encoding="utf-8")
    assert checkout.head() in report and "report.html" not in report
    linked = re.findall(r"\]\(([^)#:]+)\)", report)
    assert {"effect_rope.png", "paired_rope.md"} <= set(linked) and all((old / name).is_file() for name in linked)
    # Another experiment can follow at once: what was published last is no reason against it, nor are results of runs.
    checkout.git("add", "-A")
    assert checkout.publish().returncode == 0
    assert checkout.git("ls-files", "results") == ""


def test_the_tables_come_again_from_the_published_rows(checkout, run, tmp_path):
    assert checkout.publish().returncode == 0
    packed = checkout.folder / "published/small/rows.tar.xz"
    first = packed.read_bytes()
    (next(checkout.results.glob("cells/*")) / "log.txt").touch()  # times are not packed
    assert checkout.publish().returncode == 0 and packed.read_bytes() == first
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "results", filter="data")
    for options in (["--format", "json"], ["--baseline", "rope=none"], ["--draws", "--format", "csv"]):
        assert run("show", tmp_path / "results/small", *options).stdout == run("show", checkout.results, *options).stdout


def test_a_link_in_a_cell_is_refused(checkout, tmp_path):
    file = next(checkout.results.glob("cells/*/resolved.yaml"))
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    checkout.refused(str(file), "is a link")


def test_an_older_commit_of_the_history_is_published(checkout):
    checkout.commit()
    assert checkout.publish().returncode == 0


def test_a_run_leaves_the_checkout_clean(checkout):
    assert checkout.git("status", "--porcelain") == ""


def test_cells_that_failed_or_are_missing_are_refused(checkout):
    cell = next(checkout.results.glob("cells/*"))
    kept = (cell / "row.json").read_text(encoding="utf-8")
    (cell / "row.json").unlink()
    checkout.refused("1 of 4 cells are missing", cell.name, "qroar run")
    (cell / "row.json").write_text(json.dumps(json.loads(kept) | {"status": "failed", "error": "no memory", "metrics": {}}), encoding="utf-8")
    checkout.refused("1 of 4 cells failed", cell.name, "qroar run")


def test_rows_of_no_commit_of_this_history_are_refused(checkout):
    head = checkout.head()
    checkout.stamp(f"{head}-dirty")
    checkout.refused("uncommitted changes", f"{head}-dirty", "from a clean tree")
    checkout.stamp("0123456789ab")
    checkout.refused("0123456789ab", "not in this checkout's history")
    commits = iter([head, "0123456789ab"] * 2)
    checkout.change_rows(lambda row: row["environment"].update(commit=next(commits)))
    checkout.refused("made from several commits", head, "from a clean tree")


def test_a_checkout_with_changes_is_refused(checkout):
    (checkout.folder / "scripts/report.py").write_text("# changed\n" + (REPO / "scripts/report.py").read_text(encoding="utf-8"), encoding="utf-8")
    checkout.refused("uncommitted changes", "scripts/report.py", "commit or stash")


def test_a_place_that_cannot_be_written_is_one_line(checkout):
    (checkout.folder / "published").write_text("in the way", encoding="utf-8")
    assert_one_line(checkout.publish(), "publish: ", "published", "nothing of it is published")


def test_a_folder_without_results_is_refused(checkout):
    shutil.rmtree(checkout.results)
    process = checkout.publish()
    assert process.returncode == 1 and process.stderr.count("\n") == 1, process.stderr
