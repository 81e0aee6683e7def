"""What the peer tests share: the programs under test, real models with real text, and the repository's scripts."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from checkpoints import save_llama
from evaluated import evaluate_with
from support.program import read_token_file

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


@pytest.fixture
def assert_same_tokens(run, tmp_path):
    """assert_same_tokens(folder of a tokenizer.json, {name: text}): the program's tokens are Hugging Face's."""

    def compare(folder, texts):
        cache = tmp_path / "cache"
        model = tmp_path / "model"
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.encode_special_tokens = True  # a special token spelled out in the text is text, as in scripts/tokenize_texts.py
        if not model.exists():
            save_llama(model, vocab_size=tokenizer.get_vocab_size(), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
            shutil.copy(folder / "tokenizer.json", model)
        (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()), encoding="utf-8")
        (tmp_path / "tokens.yaml").write_text(yaml.safe_dump({"model": {"path": str(model), "dtype": "float32", "device": "cpu"},
                                                              "data": {"path": str(tmp_path / "texts.jsonl")}, "windows": {"length": 8}}))
        # An empty shard: the text is read and tokenized, and no cell is run.
        process = run("run", tmp_path / "tokens.yaml", "--results", tmp_path / "results", "--shard", "2/2", env=os.environ | {"QROAR_CACHE": str(cache)})
        assert process.returncode == 0, process.stderr
        file = next((cache / "tokens").glob("*.tok"), None)
        assert file is not None, run("check", tmp_path / "tokens.yaml").stderr  # the cell of the other shard has failed
        header, found = read_token_file(file)
        file.unlink()
        assert header["ids"] == list(texts) and header["vocab_size"] == tokenizer.get_vocab_size()
        assert header["bytes"] == [len(text.encode()) for text in texts.values()]
        different = []
        for (name, text), ids in zip(texts.items(), found, strict=True):
            expected = tokenizer.encode(text, add_special_tokens=False)
            if list(ids) != expected.ids:
                place = next((i for i, (a, b) in enumerate(zip(ids, expected.ids)) if a != b), min(len(ids), len(expected.ids)))
                begin = expected.offsets[place][0] if place < len(expected.ids) else len(text)
                different.append(f"{name}: token {place} near {text[max(0, begin - 8):begin + 12]!r}: {[tokenizer.id_to_token(int(i)) for i in ids[place:place + 5]]}"
                                 f" in the place of {expected.tokens[place:place + 5]}")
        assert not different, "\n".join(different)

    return compare


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


@pytest.fixture
def evaluate(run, tmp_path):
    """evaluate(verb, folder, changes) -> Evaluated (evaluated.py)."""
    return evaluate_with(run, tmp_path)


@pytest.fixture
def fake_quantize(tmp_path):
    """fake_quantize({name: float32 matrix}, "{type: ...}") -> the same names with what the C++ quantizer makes of them."""
    program = existing(BUILD / "tests/fake_quantize", "scripts/build makes it (QROAR_BUILD names another build folder)")

    def run(weights, quantizer):
        save_file({name: weight.contiguous() for name, weight in weights.items()}, tmp_path / "in.safetensors")
        subprocess.run([program, tmp_path / "in.safetensors", quantizer, tmp_path / "out"], check=True)
        flat = torch.from_numpy(np.fromfile(tmp_path / "out", dtype=np.float32))
        names = sorted(weights)
        parts = flat.split([weights[name].numel() for name in names])
        return {name: part.view(weights[name].shape) for name, part in zip(names, parts, strict=True)}

    return run


@pytest.fixture(scope="session")
def small_plain(tmp_path_factory):
    """A plain checkpoint of one layer, of which small_made makes quantized ones."""
    return save_llama(tmp_path_factory.mktemp("plain") / "model", intermediate_size=256, num_hidden_layers=1, hidden_size=128)


@pytest.fixture
def small_made(small_plain, tmp_path):
    """small_made(kind) -> a fresh checkpoint of a kind of import_edits.py."""
    from import_edits import MAKERS  # what it imports takes seconds

    def make(kind):
        package, maker = MAKERS[kind]
        if package:
            pytest.importorskip(package)
        maker(small_plain, tmp_path / "model")
        return tmp_path / "model"

    return make
