"""File systems that are full, read-only or cannot rename: one line that names file and reason, whole files only, and the same command ends as if
nothing had been once the cause is gone.  As root, whom no permissions stop: real mounts, and an interposed rename()."""
import json
import os
import resource
import subprocess

import pytest

from support.program import REPO, experiment_of, litter, read_rows
from support.sweep import LONG_CELL, SMALL_CELLS, assert_clean, claims, finish, lasting_rows, wait_for, windows_done


@pytest.fixture
def mounted(tmp_path):
    """mounted(options) -> a fresh tmpfs."""
    folder = tmp_path / "mount"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    """undisturbed(changes) -> the lasting rows of the experiment, run at one go."""
    rows = {}

    def rows_of(changes):
        key = json.dumps(changes)
        if key not in rows:
            folder = tmp_path_factory.mktemp("undisturbed")
            (folder / "experiment.yaml").write_text(json.dumps(experiment_of(changes)), encoding="utf-8")
            assert run("run", folder / "experiment.yaml", "--results", folder / "results").returncode == 0
            rows[key] = lasting_rows(folder / "results")
        return rows[key]

    return rows_of


def assert_write_failed(process, folder, reason, place=""):
    """A run that stopped at a failed write: what came before it in the log, then one line that names a file and the reason; nothing is left but
    whole files."""
    assert process.returncode == 1, process.stderr
    assert process.stdout == ""
    lines = [line for line in process.stderr.splitlines() if not line[:2].isdigit()]
    assert len(lines) == 1 and str(folder / place) in lines[0] and reason in lines[0], process.stderr
    assert not litter(folder) and claims(folder) == []
    return read_rows(folder)  # which are whole


def assert_ends_as(process, folder, rows):
    finish(process)
    assert lasting_rows(folder) == rows
    assert_clean(folder)


# ---- full

@pytest.mark.parametrize("pages", [1, 2, 4, 6, 8, 12])
def test_a_full_disk_stops_the_run_and_leaves_no_half_row(run, start, experiment, mounted, undisturbed, pages):
    folder = mounted(f"size={4 * pages}k")  # it fills up at another write for each size
    file = experiment()
    rows = assert_write_failed(run("run", file, "--results", folder), folder, "No space left on device")
    assert len(rows) < 4
    remount(folder, "size=1m")
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed({}))


@pytest.mark.parametrize("inodes", [2, 3, 5, 6, 7, 9])
def test_a_disk_without_room_for_another_file_does_so_too(run, start, experiment, mounted, undisturbed, inodes):
    folder = mounted(f"size=1m,nr_inodes={inodes}")
    file = experiment()
    rows = assert_write_failed(run("run", file, "--results", folder), folder, "No space left on device")
    assert len(rows) < 4
    remount(folder, "nr_inodes=1000")
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed({}))


def test_a_disk_that_fills_up_inside_a_cell_keeps_the_windows_before(run, start, experiment, mounted, undisturbed):
    file = experiment(LONG_CELL)
    folder = mounted("size=40k")
    process = run("run", file, "--results", folder)
    rows = assert_write_failed(process, folder, "No space left on device")
    assert rows == {} and "partial.jsonl: cannot write: No space left on device" in process.stderr
    done = windows_done(folder)
    assert done > 5
    remount(folder, "size=1m")
    process = start("run", file, "--results", folder)
    assert_ends_as(process, folder, undisturbed(LONG_CELL))


def test_a_disk_that_is_full_for_three_processes_stops_them_all(start, experiment, mounted, undisturbed):
    folder = mounted("size=160k")
    file = experiment(SMALL_CELLS)
    processes = [start("run", file, "--results", folder) for _ in range(3)]
    logs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1, 1]
    assert all("No space left on device" in log for log in logs)
    assert 0 < len(read_rows(folder)) < 24 and not litter(folder)
    remount(folder, "size=4m")
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed(SMALL_CELLS))


# ---- read-only

def test_a_limit_of_file_sizes_stops_the_run_as_a_full_disk_does(run, start, experiment, undisturbed, tmp_path):
    """SIGXFSZ ended the program without a word, and a temporary file stayed."""
    file, folder = experiment(SMALL_CELLS), tmp_path / "results"
    process = run("run", file, "--results", folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY)))
    assert_write_failed(process, folder, "File too large")
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed(SMALL_CELLS))


def test_a_thread_that_the_system_refuses_is_no_full_stdout(run, experiment, tmp_path):
    """As ulimit -u or -v does on a login node; the line named stdout, whose writing alone had been thought to fail so."""
    (tmp_path / "none.c").write_text("#include <errno.h>\nint pthread_create(void *a, void *b, void *c, void *d) { return EAGAIN; }\n", encoding="utf-8")
    subprocess.run(["cc", "-w", "-shared", "-fPIC", "-o", tmp_path / "none.so", tmp_path / "none.c"], check=True)
    process = run("run", experiment(SMALL_CELLS), "--results", tmp_path / "results", env=os.environ | {"LD_PRELOAD": str(tmp_path / "none.so")})
    assert process.returncode == 1 and process.stdout == "" and not litter(tmp_path)
    assert process.stderr.splitlines()[-1] == "the system refuses a thread or another resource: Resource temporarily unavailable; see ulimit -a"


def test_a_read_only_folder_is_refused(run, experiment, mounted):
    folder = mounted("size=64k,ro")
    assert assert_write_failed(run("run", experiment(), "--results", folder / "results"), folder, "Read-only file system") == {}
    assert list(folder.iterdir()) == []


def test_a_folder_that_becomes_read_only_in_mid_cell_stops_the_next_run_and_keeps_what_is_there(run, start, experiment, mounted, undisturbed):
    folder = mounted("size=1m")
    file = experiment(LONG_CELL)
    process = start("run", file, "--results", folder)
    wait_for(lambda: windows_done(folder) >= 5, process)
    process.kill()
    process.communicate()
    done = windows_done(folder)
    remount(folder, "ro")  # which the kernel refuses while the log is open
    process = run("run", file, "--results", folder)
    assert process.returncode == 1 and process.stdout == ""
    assert process.stderr.splitlines()[-1] == f"{folder}/claims: cannot create a folder there: Read-only file system"
    assert windows_done(folder) == done and not litter(folder)
    assert "gone" in run("show", folder).stdout
    remount(folder, "rw")
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed(LONG_CELL))


# ---- rename

@pytest.fixture(scope="module")
def no_rename(tmp_path_factory):
    """no_rename(mode, folder) -> options of a process for which rename() is as tests/support/no_rename.c says."""
    library = tmp_path_factory.mktemp("library") / "no_rename.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, REPO / "tests/support/no_rename.c", "-ldl"], check=True)

    def options(mode, folder):
        environment = {"LD_PRELOAD": str(library), "NO_RENAME": mode, "NO_RENAME_BELOW": str(folder)}
        return {"env": os.environ | environment | {"QROAR_CACHE": str(folder.parent / "cache")}}

    return options


@pytest.mark.parametrize(("mode", "place"), [("files", "plan.json"), ("folders", "claims/")])
def test_where_nothing_can_be_renamed_the_run_ends_with_the_reason(run, start, experiment, no_rename, undisturbed, tmp_path, mode, place):
    file, folder = experiment(), tmp_path / "results"
    process = run("run", file, "--results", folder, **no_rename(mode, folder))
    assert assert_write_failed(process, folder, "Operation not permitted", place) == {}
    assert_ends_as(start("run", file, "--results", folder), folder, undisturbed({}))


def test_a_rename_that_is_done_and_called_a_failure_does_no_harm(start, experiment, no_rename, undisturbed, tmp_path):
    folder = tmp_path / "results"
    assert_ends_as(start("run", experiment(), "--results", folder, **no_rename("lies", folder)), folder, undisturbed({}))
