"""The program's mean NLL against transformers on the same tokens and windows, and against stored perplexities of a real model.
Every window is BOS and the first length - 1 tokens of a document, in float32."""
import json
import lzma
import os
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForCausalLM

from conftest import existing, model_folder
from support.program import REPO, TEXT, TINY_BOOKS, copy_of_tiny_books, read_rows, read_token_file

NLL_TOLERANCE = 1e-5  # nats per token


def text_tokens(length):
    """The windows' text tokens of the tests' own two documents for tiny-books."""
    tokenizer = SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model"))
    documents = [json.loads(line)["text"] for line in TEXT.read_text(encoding="utf-8").splitlines()]
    return [tokenizer.encode(text)[: length - 1] for text in documents]


def transformers_nll(folder, windows):
    """(mean NLL, targets) over all windows, in double from float32 logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total, count = 0.0, 0
    for tokens in windows:
        row = torch.tensor([[model.config.bos_token_id, *tokens]])
        with torch.inference_mode():
            logits = model(row).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
        count += len(tokens)
    return total / count, count


@pytest.fixture
def measure(run, experiment, tmp_path):
    """measure({dotted key: value}) -> the nll metric of each axes' value of `rope` and length, as lists of (axes, metric)."""

    def run_measure(changes):
        process = run("run", experiment(changes, "peer.yaml"), "--results", tmp_path / "results", cwd=REPO)
        assert process.returncode == 0, process.stderr
        return [(row["axes"], row["metrics"]["nll"]) for row in read_rows(tmp_path / "results").values()]

    return run_measure


def test_tiny_books_equals_transformers_within_its_trained_length(measure):
    ((_, nll),) = measure({"windows.length": 512, "sweep": None})
    expected, count = transformers_nll(TINY_BOOKS, text_tokens(512))
    assert nll["count"] == count == 2 * 511
    assert nll["value"] == pytest.approx(expected, abs=NLL_TOLERANCE)


def test_smollm2_equals_transformers(measure):
    folder = model_folder("smollm2-135m")
    data = existing(REPO / "data/debian-manuals.smollm2.tok", "scripts/fetch_smollm2 makes it")
    ((_, nll),) = measure({"model.path": str(folder), "data": {"path": str(data), "documents": 2}, "windows.length": 512, "sweep": None})
    _, documents = read_token_file(data)
    expected, count = transformers_nll(folder, [tokens[:511].tolist() for tokens in documents[:2]])
    assert nll["count"] == count == 2 * 511
    assert nll["value"] == pytest.approx(expected, abs=NLL_TOLERANCE)


# Hugging Face's name and ours for the same interpolation beyond tiny-books' 512 trained tokens.
SCHEMES = {
    "linear": ({"rope_type": "linear", "factor": 2.0}, {"type": "linear", "factor": 2}),
    "dynamic": ({"rope_type": "dynamic", "factor": 2.0}, {"type": "dynamic_ntk", "factor": 2}),
    "yarn": ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 512}, {"type": "yarn", "factor": 2}),
    "yarn, narrower": ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 16, "beta_slow": 2,
                        "attention_factor": 1.1},
                       {"type": "yarn", "factor": 4, "beta_fast": 16, "beta_slow": 2, "attention_factor": 1.1}),
    "llama3": ({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 512},
               {"type": "llama3", "factor": 4, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 512}),
    "longrope": ({"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 512, "short_factor": [1.0] * 32,
                  "long_factor": [1 + i / 16 for i in range(32)]},
                 {"type": "longrope", "factor": 2, "short_factor": [1.0] * 32, "long_factor": [1 + i / 16 for i in range(32)]}),
}


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("name", SCHEMES)
def test_interpolation_beyond_the_trained_length_equals_transformers(measure, tmp_path, name, spelling):
    theirs, ours = SCHEMES[name]
    if spelling == "rope_parameters":
        theirs = theirs | {"rope_theta": 10000.0}
    scaled = copy_of_tiny_books(tmp_path / "model", **{spelling: theirs})
    expected, count = transformers_nll(scaled, text_tokens(1024))
    plain, _ = transformers_nll(TINY_BOOKS, text_tokens(1024))
    assert abs(expected - plain) > 1e-2  # the interpolation took effect at all

    rows = measure({"windows.length": 1024, "sweep": [
        {"rope": [ours]},
        {"rope": [{"type": "model"}], "model.path": [str(scaled)]},
    ]})
    assert len(rows) == 2
    for axes, nll in rows:
        assert nll["count"] == count > 2 * 900
        assert nll["value"] == pytest.approx(expected, abs=NLL_TOLERANCE), axes
    assert rows[0][1]["value"] == rows[1][1]["value"]


def reference_rows(folder):
    """(length, scheme, targets, mean NLL, perplexity) as reference.txt lists them."""
    lines = (folder / "reference.txt").read_text(encoding="utf-8").splitlines()
    header = next(i for i, line in enumerate(lines) if line.split()[:2] == ["length", "scheme"])
    for line in lines[header + 1:]:
        length, scheme, _, targets, nll, perplexity = line.split()
        yield int(length), scheme, int(targets), float(nll), float(perplexity)


def test_stories260k_has_the_perplexities_of_its_reference(measure, tmp_path):
    folder = model_folder("stories260k")
    packed = Path(os.environ["QROAR_DATA"]) / "tinystories/sample.jsonl.xz"
    lines = lzma.decompress(packed.read_bytes()).decode("utf-8").splitlines()
    (document,) = [line for line in lines if json.loads(line)["id"] == "valid-head"]
    (tmp_path / "valid_head.jsonl").write_text(document + "\n", encoding="utf-8")

    expected = {(length, scheme): rest for length, scheme, *rest in reference_rows(folder)}
    assert len(expected) == 17
    interpolated = [{"type": scheme, "factor": "auto"} for scheme in ("linear", "ntk", "yarn")]
    rows = measure({"model.path": str(folder), "data.path": str(tmp_path / "valid_head.jsonl"), "sweep": [
        {"rope": [{"type": "none"}], "windows.length": [512]},
        {"rope": [{"type": "none"}, *interpolated], "windows.length": [1024, 2048, 4096, 8192]},
    ]})
    found = {(axes["windows.length"], axes["rope"]["type"]): nll for axes, nll in rows}
    assert found.keys() == expected.keys()
    for key, (targets, nll, _) in expected.items():
        assert found[key]["count"] == targets, key
        # 0.1 % of the perplexity is 1e-3 of the NLL.
        assert found[key]["value"] == pytest.approx(nll, abs=1e-3), key
