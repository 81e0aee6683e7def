"""Sixteen processes on one results folder, killed at random, under a clock that jumps by up to two days: every cell once more or less, and the rows of one
process that nobody disturbed."""
import json
import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.program import experiment_of, read_rows
from support.sweep import SMALL_CELLS, assert_clean, lasting_rows

PROCESSES, KILLS, DAY = 16, 24, 86_400


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("clock.c"), "-ldl"], check=True)
    return library


class JumpingClock:
    """Moves the time of day of the programs that it is put before, forwards and backwards, until its end."""

    def __init__(self, file, moments):
        self.file, self.moments, self.over, self.jumps = file, moments, threading.Event(), 0
        file.write_bytes((0).to_bytes(8, "little"))
        self.thread = threading.Thread(target=self.jump)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def jump(self):
        with open(self.file, "r+b", buffering=0) as file:
            while not self.over.wait(0.03):
                file.seek(0)
                file.write(self.moments.randrange(-2 * DAY, 2 * DAY).to_bytes(8, "little", signed=True))
                self.jumps += 1


def test_the_shim_moves_the_time_of_day(shim, tmp_path):
    (tmp_path / "clock").write_bytes((1000 * DAY).to_bytes(8, "little"))
    moved = subprocess.run(["date", "+%s"], env=os.environ | {"LD_PRELOAD": str(shim), "QROAR_CLOCK": str(tmp_path / "clock")}, capture_output=True, check=True)
    assert abs(int(moved.stdout) - time.time() - 1000 * DAY) < 60


def test_sixteen_processes_kills_and_a_clock_that_jumps_give_the_rows_of_one_process(shim, start, run, token_cache, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    moments, file = random.Random(seed), tmp_path / "experiment.yaml"
    file.write_text(json.dumps(experiment_of(SMALL_CELLS)), encoding="utf-8")
    assert run("run", file, "--results", tmp_path / "alone").returncode == 0
    serial, results = lasting_rows(tmp_path / "alone"), tmp_path / "results"
    environment = os.environ | {"QROAR_CACHE": str(token_cache), "LD_PRELOAD": str(shim), "QROAR_CLOCK": str(tmp_path / "clock")}
    with JumpingClock(tmp_path / "clock", random.Random(seed + 1)) as clock:
        processes = [start("run", file, "--results", results, env=environment) for _ in range(PROCESSES)]
        for _ in range(KILLS):
            time.sleep(moments.uniform(0, 0.3))
            place = moments.randrange(PROCESSES)
            processes[place].kill()
            processes[place].communicate()
            processes[place] = start("run", file, "--results", results, env=environment)
        for process in processes:
            _, log = process.communicate(timeout=300)
            assert process.returncode == 0, log
        assert clock.jumps > 20
    assert lasting_rows(results) == serial and len(read_rows(results)) == 24
    assert run("run", file, "--results", results).returncode == 0  # removes what the killed ones left
    assert_clean(results)
