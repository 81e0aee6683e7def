"""What the tests that run the real program share."""
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from support.program import REPO, assert_one_line, experiment_of, litter, read_rows
from support.slurm import Cluster, missing_tools

# For torch in these processes, of which one runs on each core, and for what they start: waiting for a second thread took 1.6 times as long.
os.environ["OMP_NUM_THREADS"] = "1"


def built(program, variable):
    """A program of ours: the one that the variable names, else that of the build folder QROAR_BUILD, else CI's, else the release one;
    a missing one is a failure."""
    folders = [os.environ["QROAR_BUILD"]] if "QROAR_BUILD" in os.environ else ["build/ci", "build/release"]
    candidates = [Path(os.environ[variable])] if variable in os.environ else [REPO / folder / program for folder in folders]
    for path in candidates:
        if path.exists():
            return path.resolve()
    pytest.fail(f"no {program}: build it with scripts/build, or name one in {variable}", pytrace=False)


@pytest.fixture(scope="session")
def binary():
    return built("qroar", "QROAR_BINARY")


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory):
    """The program's cache in these tests, so that the user's own stays as it is."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def start(binary, token_cache):
    """start(argument...) -> the running process of the program, on one thread: these models are too small for more."""
    environment = os.environ | {"QROAR_CACHE": str(token_cache)}

    started = []

    def start_program(*arguments, **options):
        options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        started.append(subprocess.Popen([binary, *map(str, arguments)], **options))
        return started[-1]

    yield start_program
    for process in started:  # what a test that failed left, perhaps stopped
        if process.poll() is None:
            process.kill()


@pytest.fixture(scope="session")
def run(start):
    """run(argument...) -> the finished process of the program."""

    def run_program(*arguments, **options):
        with start(*arguments, **options) as process:
            stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run_program


@pytest.fixture
def experiment(tmp_path):
    """experiment({dotted key: value}) -> the path of a YAML file, see experiment_of."""

    def write(changes=None, name="experiment.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(experiment_of(changes or {}), sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def finished(run, tmp_path_factory):
    """(process, experiment, results) of the small experiment, run once for the tests that only look."""
    folder = tmp_path_factory.mktemp("finished")
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(experiment_of({}), sort_keys=False), encoding="utf-8")
    process = run("run", file, "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    return process, file, folder / "results"


@pytest.fixture
def refused(run, tmp_path):
    """refused(file, part...): running the experiment is refused with one line that holds the parts, before anything is written."""

    def run_refused(file, *parts, arguments=(), **options):
        process = run("run", file, "--results", tmp_path / "results", *arguments, **options)
        assert_one_line(process, *parts)
        assert not (tmp_path / "results").exists()

    return run_refused


@pytest.fixture
def failed(run, tmp_path):
    """failed(file, part...): every cell fails with the parts in its row, its log and on stderr; the row is whole."""

    def run_failed(file, *parts):
        process = run("run", file, "--results", tmp_path / "results")
        assert process.returncode == 1
        rows = read_rows(tmp_path / "results")
        assert rows and not litter(tmp_path)
        for cell, row in rows.items():
            assert row["status"] == "failed" and row["metrics"] == {}
            for part in parts:
                assert str(part) in row["error"]
            assert "\n" not in row["error"]
            assert row["error"] in process.stderr
            assert row["error"] in (tmp_path / "results/cells" / cell / "log.txt").read_text(encoding="utf-8")

    return run_failed


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A Slurm of our own, see tests/support/slurm.py."""
    if missing := missing_tools():
        pytest.skip(f"no {', '.join(missing)}: scripts/setup --test installs Slurm")
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started
