"""model.weights: streamed gives the rows of resident weights, bit for bit, in any kind of cell; several schemes share the reading of weights."""
import json
import os
import re
import resource
import struct
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from support.program import TEXT, TINY_BOOKS, copy_of_tiny_books, lasting, read_rows, tiny_books_tokenizer_hash, write_token_file

CALIBRATION = {"data": {"path": str(TEXT)}, "samples": 4, "length": 64}


def weights(kind, **more):
    return [{"match": "layers.*", "weight": {"type": kind, "bits": 4, "group": 32} | more}]


METHODS = {
    "rtn": {"quant": weights("rtn"), "metrics": ["perplexity", "kl_divergence"]},
    "awq": {"quant": weights("awq"), "calibration": CALIBRATION},
    "gptq": {"quant": weights("gptq"), "calibration": CALIBRATION},
    "smoothquant": {"quant": weights("smoothquant", symmetric=True), "calibration": CALIBRATION},
    "rotated": {"quant": weights("rtn"), "rotation": {"type": "hadamard"}, "rounding": {"draw": 3},
                "kv": {"type": "fake_quant", "key": {"type": "rtn", "bits": 4, "group": 0}, "value": {"type": "rtn", "bits": 4, "group": 0}}},
    "rescaled": {"quant": weights("rtn"), "rescale": {"type": "bands", "bands": 3, "scales": [1.1, 0.9, 1.05]}},
    "searched": {"rescale": {"type": "bands", "bands": 2, "search": {"data": {"path": str(TEXT), "skip": 1, "documents": 1}, "lengths": [64], "short_length": 32,
                                                                       "strategy": {"type": "gradient", "steps": 1}}},
                 "data": {"path": str(TEXT), "documents": 1}},
    "diagnosed": {"quant": weights("rtn"), "diagnostics": ["logit_noise", "sensitivity", "outlier_counts"]},
    "reference": {"quant": weights("rtn"), "metrics": ["kl_divergence"], "reference": {"path": str(TINY_BOOKS), "dtype": "float64"}},
}


def shapes_of(hidden, mlp, layers, vocabulary=4096):
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{norm}.weight": [hidden] for norm in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"model.layers.{layer}.self_attn.{name}_proj.weight": [hidden, hidden] for name in "qkvo"}
        shapes |= {f"model.layers.{layer}.mlp.{name}_proj.weight": [mlp, hidden] for name in ("gate", "up")}
        shapes[f"model.layers.{layer}.mlp.down_proj.weight"] = [hidden, mlp]
    return shapes


def hollow_model(folder, layers, vocabulary=4096, tied=True):
    """A model of so many layers of 67 million weights, of which no byte is on the disk, and its bytes."""
    hidden, mlp = 2048, 8192
    model = copy_of_tiny_books(folder, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=32,
                               num_key_value_heads=32, head_dim=64, vocab_size=vocabulary, tie_word_embeddings=tied)
    header, end = {}, 0
    for name, shape in (shapes_of(hidden, mlp, layers, vocabulary) | ({} if tied else {"lm_head.weight": [vocabulary, hidden]})).items():
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(model / "model.safetensors", 8 + len(text) + end)
    return model, end


def files(results):
    return {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*.csv")}


def rows(results):
    return {cell: lasting(row) for cell, row in read_rows(results).items()}


def shared(process):
    return process.stderr.count("scored with those of cell")


@pytest.fixture
def both(run, experiment, tmp_path):
    """both(changes) -> (process, results) of a streamed run, after comparing it with a resident one."""

    def run_both(changes):
        file = experiment(changes)
        for kind in ("resident", "streamed"):
            own = os.environ | {"QROAR_CACHE": str(tmp_path / f"cache-{kind}")}  # no calibration of the other's
            process = run("run", file, "--results", tmp_path / kind, "--set", f"model.weights={kind}", env=own)
            assert process.returncode == 0, process.stderr
            assert ("layers are streamed" in process.stderr) == (kind == "streamed")
        assert rows(tmp_path / "streamed") == rows(tmp_path / "resident")
        assert files(tmp_path / "streamed") == files(tmp_path / "resident")
        return process, tmp_path / "streamed"

    return run_both


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_those_of_resident_weights(both, experiment, method):
    changes = METHODS[method] | {"sweep": None}
    both(changes)


def test_schemes_and_lengths_go_through_the_layers_together(both):
    process, results = both({"quant": weights("rtn")})  # two schemes, two lengths
    assert len(rows(results)) == 4 and shared(process) == 3


def test_cells_of_other_weights_do_not(both):
    process, _ = both({"sweep": [{"quant": [weights("rtn"), weights("rtn", symmetric=True), []]}]})
    assert shared(process) == 0


def test_a_killed_run_goes_on_behind_the_windows_that_went_through_together(run, start, experiment, tmp_path):
    """160,000 tokens, of which 65,536 go through the layers together."""
    model = copy_of_tiny_books(tmp_path / "model", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                               num_key_value_heads=2)
    torch.manual_seed(3)
    save_file({name: torch.randn(shape) / 8 for name, shape in shapes_of(32, 64, 2).items()}, model / "model.safetensors")
    file = experiment({"model.path": str(model), "quant": weights("rtn"), "windows": {"length": 64, "stride": 1}, "sweep": None})
    streamed = ("--set", "model.weights=streamed")
    assert run("run", file, "--results", tmp_path / "whole").returncode == 0
    process = start("run", file, "--results", tmp_path / "killed", *streamed)
    while process.poll() is None and not any(part.read_bytes().count(b"\n") > 8 for part in (tmp_path / "killed").glob("cells/*/partial.jsonl")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    process = run("run", file, "--results", tmp_path / "killed", *streamed)
    assert process.returncode == 0 and "were finished already" in process.stderr, process.stderr
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole") and files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize(("changes", "named"), [
    ({"model.weights": "streaming"}, "known: resident, streamed, auto"),
    ({"model.weights": "streamed", "diagnostics": ["quant_error"]}, "quant_error"),
    ({"model.weights": "streamed", "tasks": [{"type": "passkey", "lengths": [64], "samples": 1}], "windows": {"length": 128}}, "tasks"),
    ({"model.weights": "streamed", "export": {"folder": "out"}}, "export")], ids=["unknown", "diagnostic", "tasks", "export"])
def test_what_cannot_be_streamed_is_refused(refused, experiment, changes, named):
    refused(experiment(changes | {"sweep": None}), "model.weights", named)


def test_check_says_the_memory_of_streamed_weights(run, experiment, tmp_path):
    """Check reads the header alone."""
    model, end = hollow_model(tmp_path / "model", 40)
    changes = {"model.path": str(model), "model.dtype": "bfloat16", "sweep": None}
    file = experiment(changes)

    def memory(kind):
        said = run("check", file, "--set", f"model.weights={kind}").stdout
        assert (", layers streamed" in said) == (kind == "streamed")
        return float(re.search(r"largest memory about ([\d.]+) GB", said)[1])

    own = memory("resident")
    assert 0.99 * end / 1e9 < own < 1.1 * end / 1e9
    assert 0.3 < memory("streamed") < 0.7
    file = experiment(changes | {"metrics": ["kl_divergence"], "reference": {"path": str(model), "dtype": "float64"}})
    assert 4.9 * own < memory("resident") < 5.2 * own  # four times as many bytes for the reference
    assert 1.5 < memory("streamed") < 3.5
    for match, share in (("layers.*", 1), ("layers.3.*", 1 / 40)):  # of the weights are there twice
        file = experiment(changes | {"quant": [weights("rtn")[0] | {"match": match}]})
        assert abs(memory("resident") - own - share * end / 1e9) < 0.15
    search = {"type": "bands", "search": {"data": {"path": str(TEXT), "documents": 1}, "lengths": [64], "short_length": 32}}
    awq = {"quant": weights("awq"), "calibration": {"data": {"path": str(TEXT), "documents": 1}, "samples": 2, "length": 64}}
    for more in ({"rounding": {"draw": 1}, "metrics": ["kl_divergence"]}, awq | {"metrics": ["kl_divergence"]}, awq | {"diagnostics": ["quant_error"]},
                 {"rescale": search, "quant": [{"match": "layers.*", "weight": {"type": "mxfp4"}}]}):
        file = experiment(changes | {"data.skip": 1, "data.documents": 1} | more)
        assert abs(memory("resident") - own - 2 * end / 1e9) < 0.15, more  # three times
    file = experiment(changes | {"data.skip": 1, "data.documents": 1, "rescale": search, "quant": weights("rtn")})
    assert abs(memory("resident") - own - end / 1e9) < 0.15  # rtn's rows are scaled as they are
    text = tmp_path / "calibration.tok"
    write_token_file(text, tiny_books_tokenizer_hash(), {"long": np.arange(2**18, dtype="<i4") % 4000})
    long = changes | {"data": {"path": str(text)}, "windows": {"length": 2**17, "truncate": True}}
    file = experiment(long)
    forward = memory("streamed")
    file = experiment(long | {"diagnostics": ["sensitivity"]})
    assert memory("streamed") - forward > 2**17 * 40 * 2048 * 2 / 1e9  # every layer's input stays for the way back
    file = experiment(changes | {"quant": weights("gptq"), "calibration": {"data": {"path": str(text)}, "samples": 512, "length": 512}})
    assert 7.4 < memory("streamed") < 8.1  # 2**18 tokens of a stream and the widest input, 5.4 GB, and 2 of GPTQ's matrices of 8192 x 8192


def test_two_layers_of_streamed_weights_are_there_at_once(run, experiment, tmp_path):
    """One is computed with while the next is read, so that a model of one layer takes one more than it has."""
    model, end = hollow_model(tmp_path / "model", 1)
    file = experiment({"model.path": str(model), "model.dtype": "float64", "sweep": None})
    resident, streamed = (float(re.search(r"memory about ([\d.]+) GB", run("check", file, "--set", f"model.weights={kind}").stdout)[1])
                          for kind in ("resident", "streamed"))
    layer = 4 * (end - 2 * 4000 * 2048) / 1e9  # of bfloat16's bytes but those of the embeddings, which are the head, too
    assert abs(streamed - resident - layer) < 0.11, (resident, streamed, layer)


def test_a_head_of_its_own_is_there_beside_the_embeddings_of_a_streamed_model(run, experiment, tmp_path):
    vocabulary, memory = 2**18, []
    for tied in (True, False):
        model, _ = hollow_model(tmp_path / f"model-{tied}", 4, vocabulary, tied)
        file = experiment({"model.path": str(model), "model.dtype": "float64", "model.weights": "streamed", "sweep": None})
        memory.append(float(re.search(r"memory about ([\d.]+) GB", run("check", file).stdout)[1]))
    assert abs(memory[1] - memory[0] - 8 * vocabulary * 2048 / 1e9) < 0.11, memory


def no_more_than_16_gigabytes():
    """So that a program that is wrong about it ends itself and not the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (16 * 10**9, 16 * 10**9))


def test_resident_weights_that_cannot_fit_are_refused_before_they_are_made(run, experiment, tmp_path):
    """16 GB of weights in float64 and as much again where they are quantized."""
    available = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo", encoding="utf-8") if line.startswith("MemAvailable"))
    if available > 30e9:
        pytest.skip("this machine has the memory")
    model, _ = hollow_model(tmp_path / "model", 30)
    changes = {"model.path": str(model), "model.dtype": "float64", "sweep": None, "windows": {"length": 128}, "quant": weights("rtn")}
    tasks = [{"type": "passkey", "lengths": [96], "samples": 1, "depths": [0]}]
    for more, remedy in (({"model.weights": "resident"}, "say model.weights: streamed"), ({"tasks": tasks}, "streamed ones do not serve tasks")):
        process = run("run", experiment(changes | more), "--results", tmp_path / "results", preexec_fn=no_more_than_16_gigabytes)
        assert process.returncode == 1 and "resident weights and a window of" in process.stderr and remedy in process.stderr, process.stderr
