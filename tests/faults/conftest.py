"""Options of the tests that make calls fail."""
import random

import pytest


def pytest_addoption(parser):
    parser.addoption("--all-faults", action="store_true", help="let every write-side call fail in every way, not a drawn sample")
    parser.addoption("--fault-seed", type=int, default=1, help="draws the sample; printed by each test")


@pytest.fixture
def chosen(request):
    """chosen(points, count) -> those to try: all with --all-faults, else `count` drawn by --fault-seed, which is printed."""

    def choose(points, count):
        if request.config.getoption("all_faults"):
            return points
        seed = request.config.getoption("fault_seed")
        print(f"drawn by --fault-seed {seed}")
        return sorted(random.Random(seed).sample(points, min(count, len(points))))

    return choose
