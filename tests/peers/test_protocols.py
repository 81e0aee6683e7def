"""Each protocol of configs/protocols against an implementation of its own here, in the terms of its release (docs/method.md 7), on the same
losses: those that tests/support/window_losses gives for the very sequences that the release would feed."""
import json
import math
import random
import re
import subprocess

import pytest
from sentencepiece import SentencePieceProcessor

from conftest import BUILD, existing
from support.program import REPO, TINY_BOOKS, read_rows

BOS = 1
# What the program scores in batches and window_losses one sequence at a time is added up in other orders, so that a loss in float32 keeps 1e-7 of itself
# and one in float64 1e-16, on any processor: a token more or less in a mean would be 1e-3.
RELATIVE = 1e-12
WORDS = json.loads((REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"].split()


@pytest.fixture(scope="module")
def losses_of():
    """losses_of(sequences) -> the losses of each sequence's tokens but the first, given those before."""
    program = existing(BUILD / "tests/window_losses", "scripts/build makes it (QROAR_BUILD names another build folder)")
    setup = f"{{model: {{path: {TINY_BOOKS}, dtype: float64, device: cpu}}, rope: {{type: none}}}}"

    def run_losses(sequences):
        process = subprocess.run([program, setup], input="".join(json.dumps(ids) + "\n" for ids in sequences), capture_output=True, text=True,
                                 check=False)
        assert process.returncode == 0, process.stderr
        return [json.loads(line) for line in process.stdout.splitlines()]

    return run_losses


@pytest.fixture(scope="module")
def documents():
    """Three documents of different lengths: (text, tokens)."""
    tokenizer = SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model"))
    drawn = random.Random(7)
    texts = [" ".join(drawn.choice(WORDS) for _ in range(count)) for count in (150, 60, 211)]
    return [(text, tokenizer.encode(text)) for text in texts]


@pytest.fixture
def measured(run, experiment, documents, tmp_path):
    """measured(protocol, {dotted key: value}) -> the row's metrics."""
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, (text, _) in enumerate(documents)), encoding="utf-8")

    def run_protocol(name, changes):
        base = {"include": [str(REPO / f"configs/protocols/{name}.yaml")], "model.dtype": "float64",
                "data": {"path": str(data), "documents": 0, "min_tokens": 1}, "windows": None, "sweep": None}
        process = run("run", experiment(base | changes), "--results", tmp_path / "results", cwd=REPO)
        assert process.returncode == 0, process.stderr
        (row,) = read_rows(tmp_path / "results").values()
        shown = run("show", tmp_path / "results").stdout
        assert f"protocol {row['config']['windows']['protocol']}," in shown
        return {key: metric["value"] for key, metric in row["metrics"].items()}

    return run_protocol


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("truncate", [False, True])
def test_yarn(measured, documents, losses_of, truncate):
    context, stride = 64, 16
    parts, fresh = [], []
    for _, tokens in documents:
        tokens, step = (tokens[:context - 1], context - 1) if truncate else (tokens, stride)
        previous_end = 0
        for begin in range(0, len(tokens), step):
            end = min(begin + context - 1, len(tokens))
            parts.append([BOS, *tokens[begin:end]])
            fresh.append(end - previous_end)
            previous_end = end
            if end == len(tokens):
                break
    windows = [mean(losses[-count:]) for losses, count in zip(losses_of(parts), fresh)]
    changes = {"windows.length": context} if truncate else {"windows.length": context, "windows.stride": stride}
    found = measured("yarn_proofpile" if truncate else "yarn", changes)
    assert found["perplexity"] == pytest.approx(math.exp(mean(windows)), rel=RELATIVE)


def test_pi(measured, documents, losses_of):
    context, stride, longest = 64, 16, 200
    scored = []
    for _, tokens in documents:
        tokens, done = tokens[:longest], 0
        parts = [(begin, min(begin + context - 1, len(tokens))) for begin in range(0, len(tokens), stride)]
        for (_, end), losses in zip(parts, losses_of([[BOS, *tokens[begin:end]] for begin, end in parts])):
            if end > done:
                scored += losses[done - end:]
            done = max(done, end)
    found = measured("pi", {"windows.length": context, "windows.stride": stride, "data.max_tokens": longest})
    assert found["perplexity"] == pytest.approx(math.exp(mean(scored)), rel=RELATIVE)


def test_longlora(measured, documents, losses_of):
    length, step = 64, 16
    tokens = [token for _, tokens in documents for token in tokens]
    starts = list(range(0, len(tokens) - length, step))
    starts.pop()
    windows = [mean(losses) for losses in losses_of([tokens[start:start + length] for start in starts])]
    found = measured("longlora", {"windows.length": length, "windows.stride": step})
    assert found["perplexity"] == pytest.approx(2.71828 ** mean(windows), rel=RELATIVE)
    assert found["perplexity"] != pytest.approx(math.exp(mean(windows)), rel=RELATIVE)


@pytest.mark.parametrize("name", ["awq", "awq_gptq"])
def test_awq_and_gptq(measured, documents, losses_of, name):
    length = 64
    stream = [BOS, *(token for _, tokens in documents for token in tokens)]
    blocks = [stream[i * length:(i + 1) * length] for i in range(len(stream) // length)]
    total = sum(mean(losses) * length for losses in losses_of(blocks))
    found = measured(name, {"windows.length": length})
    assert found["perplexity"] == pytest.approx(math.exp(total / (len(blocks) * length)), rel=RELATIVE)


def test_llama_cpp(measured, documents, losses_of):
    chunk = 64
    stream = [BOS, *(token for _, tokens in documents for token in tokens)]
    chunks = [[BOS, *stream[i * chunk + 1:(i + 1) * chunk]] for i in range(len(stream) // chunk)]
    first = chunk // 2  # the logits of this place and those after it count
    scored = [loss for losses in losses_of(chunks) for loss in losses[first:]]
    assert len(scored) == len(chunks) * (chunk - 1 - first)
    found = measured("llama_cpp", {"windows.length": chunk})
    assert found["perplexity"] == pytest.approx(math.exp(mean(scored)), rel=RELATIVE)


def test_lm_eval(measured, documents, losses_of):
    longest = 64
    total, words, count = 0.0, 0, 0
    for text, tokens in documents:
        pairs, predicted = [], 0
        while predicted < len(tokens):
            if predicted == 0:
                size = min(longest, len(tokens))
                seen, targets = [BOS, *tokens[:size - 1]], tokens[:size]
            else:
                size = min(longest, len(tokens) - predicted)
                end = predicted + size
                seen, targets = tokens[end - longest - 1:end - 1], tokens[end - size:end]
                if end - longest - 1 < 0:  # the whole text, and BOS before it
                    seen = [BOS, *tokens[:end - 1]]
            pairs.append((seen, targets))
            predicted += len(targets)
        for (seen, targets), losses in zip(pairs, losses_of([[*seen, targets[-1]] for seen, targets in pairs])):
            total += sum(losses[-len(targets):])
        words += len(re.split(r"\s+", text))
        count += len(text.encode())
    found = measured("lm_eval", {"windows.length": longest})
    assert found["word_perplexity"] == pytest.approx(math.exp(total / words), rel=RELATIVE)
    assert found["byte_perplexity"] == pytest.approx(math.exp(total / count), rel=RELATIVE)
    assert found["bits_per_byte"] == pytest.approx(total / count / math.log(2), rel=RELATIVE)
