"""scripts/paper llama2-7b, from fetch to verdicts, up to the weights: a random checkpoint in Llama-2's shape, of two layers and with the real
tokenizer's vocabulary, comes from a hub on this machine under the pinned revision, and every target runs on real texts."""
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
import yaml

from support.hub import Hub, serve
from support.program import REPO

TARGETS = ["t1", "t2", "t3", "f1", "f2", "f3", "f4", "f5", "f20", "f21", "causes"]
PINNED = json.loads((REPO / "scripts/fetch_model.json").read_text(encoding="utf-8"))["llama2-7b"]


@pytest.fixture(scope="module")
def data():
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA is not set: the texts, benchmarks and Llama-2's tokenizer are not in the repository")
    return Path(os.environ["QROAR_DATA"])


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    """Llama-2's config.json but for sizes that a CPU bears; head_dim is the real one, so that bands and groups of 128 are."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=32000, hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=2,
                                      num_key_value_heads=2, head_dim=128, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    transformers.LlamaForCausalLM(config).half().save_pretrained(folder)
    shutil.copy(data / "tokenizers/llama2-tokenizer.model", folder / "tokenizer.model")
    return folder


def cut(source, path, documents, characters):
    lines = [json.loads(line) for line in lzma.open(source, "rt", encoding="utf-8")]
    kept = [line for line in lines if len(line["text"]) >= characters][:documents]
    path.write_text("".join(json.dumps({"id": line["id"], "text": line["text"][:characters]}) + "\n" for line in kept), encoding="utf-8")
    return str(path)


@pytest.fixture
def sizes(data, tmp_path):
    """The sizes of llama2-7b.yaml, with windows and texts that take minutes."""
    text = lambda name, documents: cut(data / f"{name}.jsonl.xz", tmp_path / f"{Path(name).name}.jsonl", documents, 4000)  # noqa: E731
    model = tmp_path / "models/meta-llama/Llama-2-7b-hf"
    changed = {"include": str(REPO / "paper/models/llama2-7b.yaml"), "model": {"path": str(model), "dtype": "float32"},
               "govreport": text("gov/govreport_leval", 5), "proof_pile": text("proofpile/books", 5),
               "calibration": {"data": {"path": text("calib/calib", 4)}, "samples": 4, "length": 64},
               "dev": {"path": text("gov/crs", 1), "documents": 1, "min_tokens": 64}, "lengths": [64, 128], "shortest": 64, "longest": 128, "documents": 4,
               "draws": [0], "search_lengths": [32], "more_documents": 4, "factors": [4], "proof_pile_lengths": [128],
               "proof_pile_longest": 128, "proof_pile_documents": 4, "long_lengths": [128], "long_longest": 128, "long_documents": 4, "short_window": 512,
               "long_window": 640, "questions": 4, "diagnosed_documents": 4}
    own = {"models/meta-llama/Llama-2-7b-hf//fetched.json": "true", "data/govreport.jsonl": "true", "data/proof_pile.jsonl": "true", "data/c4.jsonl": "true",
           "data/public/gov/crs.jsonl": "true", f"{model}//fetched.json": f"scripts/fetch_model llama2-7b --out {tmp_path / 'models'}"}
    path = tmp_path / "sizes.yaml"
    path.write_text(yaml.safe_dump(changed | {"fetch": own}), encoding="utf-8")
    return path


def test_every_target_is_made_from_fetch_to_verdicts(binary, token_cache, checkpoint, sizes, tmp_path):
    out = tmp_path / "out"
    with serve(Hub({PINNED["model"]: checkpoint}, commit=PINNED["revision"])) as hub:
        environment = os.environ | {"QROAR_BINARY": str(binary), "QROAR_CACHE": str(token_cache), "HF_ENDPOINT": hub.url,
                                    "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        process = subprocess.run([sys.executable, REPO / "scripts/paper", sizes, "--results", out], env=environment, capture_output=True, text=True,
                                 timeout=1500, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    fetched = json.loads((tmp_path / "models" / PINNED["model"] / "fetched.json").read_text(encoding="utf-8"))
    assert fetched["revision"] == PINNED["revision"]
    for target in TARGETS:
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in (out / target / "cells").glob("*/row.json")]
        planned = json.loads((out / target / "plan.json").read_text(encoding="utf-8"))["cells"]
        assert len(rows) == len(planned) and all(row["status"] == "ok" for row in rows), target
        name = {"f20": "outlier_counts", "f21": "tail_ratios", "causes": "logit_noise"}.get(target, "table")
        assert {*(f"{name}.{ending}" for ending in ("csv", "tex", "md", "dat")), "report.md", "report.html"} <= {path.name for path in (out / target).iterdir()}
    assert (out / "report.html").is_file()
    verdicts = json.loads((out / "verdicts.json").read_text(encoding="utf-8"))
    assert len(verdicts) == 31 and not [entry for entry in verdicts if "not finished" in entry["why"] or "has no row" in entry["why"]]
    unmeasured = {entry["id"] for entry in verdicts if entry["effect"] is None}
    assert unmeasured <= {"outliers-move"}  # random weights need not have any
