"""What the peer tests share: the programs under test, real models with real text, and the repository's scripts."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

REPO = Path(__file__).resolve().parents[2]
BUILD = REPO / os.environ.get("QROAR_BUILD", "build/release")


def existing(path, advice):
    """The path, or a skipped test that says how to get what is missing."""
    if not path.exists():
        pytest.skip(f"{path} is not there; {advice}")
    return path


def lm_tests():
    return existing(BUILD / "tests/lm_tests", "scripts/build makes it (QROAR_BUILD names another build folder)")


def model_folder(name):
    if name == "tiny-books":
        return REPO / "configs/models/tiny-books"
    if name == "smollm2-135m":
        return existing(REPO / "models/smollm2-135m", "scripts/fetch_smollm2 imports it")
    return shared_data(f"models/{name}")


def shared_data(path):
    if "QROAR_DATA" not in os.environ:
        pytest.skip(f"{path}: QROAR_DATA is not set")
    return existing(Path(os.environ["QROAR_DATA"]) / path, "QROAR_DATA names the shared data folder")


def manuals_file():
    return existing(REPO / "data/debian-manuals.jsonl", "scripts/fetch_texts fetches it")


def sample_tokens(name, count):
    """The first tokens of a real manual in the model's own tokenizer, without BOS."""
    text = json.loads(manuals_file().read_text(encoding="utf-8").splitlines()[0])["text"][:20000]
    folder = model_folder(name)
    if (folder / "tokenizer.model").exists():
        return SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).encode(text)[:count]
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids[:count]


@pytest.fixture(scope="session")
def run_script():
    """run_script(name, argument...) -> the finished process of a Python script of scripts/."""

    def run(name, *arguments):
        command = [sys.executable, REPO / "scripts" / name, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def smollm2_gguf():
    return existing(REPO / "data/SmolLM2-135M-Instruct.Q4_1.gguf", "scripts/fetch_smollm2 fetches it")


@pytest.fixture(scope="session")
def manuals():
    return manuals_file()


@pytest.fixture(scope="session")
def smollm2(run_script, smollm2_gguf, tmp_path_factory):
    """SmolLM2 imported now, by the script as it is."""
    folder = tmp_path_factory.mktemp("models") / "smollm2-135m"
    process = run_script("import_gguf.py", smollm2_gguf, folder)
    assert process.returncode == 0, process.stderr
    return folder
