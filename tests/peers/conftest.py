"""What the peer tests share: the repository's scripts, and SmolLM2's files as scripts/fetch_smollm2 leaves them."""
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def run_script():
    """run_script(name, argument...) -> the finished process of a Python script of scripts/."""

    def run(name, *arguments):
        return subprocess.run([sys.executable, REPO / "scripts" / name, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run


def fetched(path):
    if not (REPO / path).exists():
        pytest.skip(f"{path} is not there; scripts/fetch_smollm2 fetches it")
    return REPO / path


@pytest.fixture(scope="session")
def smollm2_gguf():
    return fetched("data/SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def manuals():
    return fetched("data/debian-manuals.jsonl")


@pytest.fixture(scope="session")
def smollm2(run_script, smollm2_gguf, tmp_path_factory):
    """SmolLM2 imported now, by the script as it is."""
    folder = tmp_path_factory.mktemp("models") / "smollm2-135m"
    process = run_script("import_gguf.py", smollm2_gguf, folder)
    assert process.returncode == 0, process.stderr
    return folder
