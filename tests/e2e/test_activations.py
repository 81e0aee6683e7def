"""Quantized activations and caches in whole runs: what they cost tiny-books, and the errors of blocks that cannot be."""
import pytest

from support.program import TEXT, TINY_BOOKS, read_csv, read_rows, tiny_books_tokenizer_hash, write_token_file

W4 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}
A8 = {"type": "rtn", "bits": 8, "symmetric": True, "group": 0}
KV = {"type": "fake_quant", "key": {"type": "rtn", "bits": 4, "group": 0, "clip": 0.95},
      "value": {"type": "rtn", "bits": 4, "group": 0, "clip": 0.95}}
KIVI = {"type": "fake_quant", "key": {"type": "rtn", "bits": 2, "group": 16}, "key_axis": "channel", "key_rope": "after",
        "value": {"type": "rtn", "bits": 2, "group": 32}, "value_axis": "token", "residual": 15}


@pytest.fixture
def losses(run, experiment, tmp_path):
    """losses(axis, values): the mean NLL of each value of one swept key, the other settings those of the small experiment."""

    def run_sweep(axis, values, **changes):
        file = experiment({"sweep": [{axis: values}], **changes})
        process = run("run", file, "--results", tmp_path / "results")
        assert process.returncode == 0, process.stderr
        rows = read_rows(tmp_path / "results").values()
        assert len(rows) == len(values)
        return [next(row["metrics"]["nll"]["value"] for row in rows if row["axes"][axis] == value) for value in values]

    return run_sweep


def test_eight_bit_activations_add_little_to_four_bit_weights(losses):
    plain, w4, w4a8, w4a3 = losses("quant", [[], [W4], [W4 | {"input": A8}], [W4 | {"input": A8 | {"bits": 3}}]])
    assert w4 != plain and w4a8 != w4
    assert abs(w4a8 - w4) < 0.05 < w4a3 - w4


def test_the_cache_costs_more_with_fewer_bits_and_nothing_while_all_tokens_are_exact(losses):
    none, kv8, kv4, kv2, window = losses("kv", [{"type": "none"}, with_bits(KV, 8), KV | {"residual": 0}, with_bits(KV, 2),
                                                KV | {"residual": 64}])
    assert kv8 != none and abs(kv8 - none) < 0.02 and abs(kv4 - none) < 0.05 < kv2 - none
    assert window == pytest.approx(none, abs=1e-5)  # float32 sums in other orders


def with_bits(kv, bits):
    return kv | {part: kv[part] | {"bits": bits} for part in ("key", "value")}


def test_a_kivi_cache_runs_in_bfloat16_and_costs_less_than_keys_per_token(losses):
    none, kivi, per_token = losses("kv", [{"type": "none"}, KIVI, KIVI | {"key_axis": "token"}], **{"model.dtype": "bfloat16"})
    assert none < kivi < per_token


def test_jobs_that_differ_only_in_their_cache_do_not_share_a_model(run, experiment, tmp_path):
    file = experiment({"quant": [W4], "sweep": [{"kv": [{"type": "none"}, KV], "windows.length": [32, 64]}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    values = {row["metrics"]["nll"]["value"] for row in read_rows(tmp_path / "results").values()}
    assert len(values) == 4


FORMS = [{"type": "rtn", "bits": 4, "group": 0}, {"type": "fp8", "group": 64}, {"type": "mxfp4"}, {"type": "nf4", "block": 64},
         {"type": "nvfp4", "global_scale": "token"}, {"type": "nvfp4", "static": True}, {"type": "rtn", "bits": 8, "group": -1, "static": True}]


def test_losses_at_the_beginning_do_not_depend_on_what_comes_later(run, experiment, tmp_path):
    base = [(37 * i + 11) % 4000 + 50 for i in range(63)]
    write_token_file(tmp_path / "one.tokens", tiny_books_tokenizer_hash(), {"a": base, "b": base[::-1]})
    write_token_file(tmp_path / "other.tokens", tiny_books_tokenizer_hash(), {"a": base[:40] + base[:23], "b": base[::-1]})
    rules = [[{"match": "layers.*", "input": form}] for form in FORMS]
    changes = {"metrics": [{"type": "nll_by_position", "bins": 64, "last": 16}], "data.documents": 1,
               "sweep": [{"quant": rules, "data.path": [str(tmp_path / "one.tokens"), str(tmp_path / "other.tokens")]}],
               "calibration": {"data": {"path": str(TEXT)}, "samples": 4, "length": 64}}
    process = run("run", experiment(changes), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    curves = {}
    for cell, row in read_rows(tmp_path / "results").items():
        text = (tmp_path / "results/cells" / cell / "metrics/nll_by_position.csv").read_text(encoding="utf-8")
        curves.setdefault(str(row["axes"]["quant"]), []).append([line["nll"] for line in read_csv(text)])
    assert len(curves) == len(FORMS)
    for form, (one, other) in curves.items():
        assert len(one) == 63 and one[:40] == other[:40] and one[40:] != other[40:], form


def test_formats_with_a_scale_a_token_cost_little_as_inputs_and_more_with_fewer_bits(losses):
    exact, nvfp4, static, nf4, mxfp8 = losses("quant", [[], *([{"match": "layers.*", "input": form}] for form in (
        {"type": "nvfp4", "global_scale": "token"}, {"type": "nvfp4", "static": True}, {"type": "nf4"}, {"type": "mxfp8"}))],
        calibration={"data": {"path": str(TEXT)}, "samples": 4, "length": 64})
    assert len({exact, nvfp4, static, nf4, mxfp8}) == 5
    assert abs(mxfp8 - exact) < 0.05 and max(abs(x - exact) for x in (nvfp4, static, nf4)) < 0.5


YAML = f"""# An experiment with known lines and columns.
model: {{path: {TINY_BOOKS}, dtype: float32}}
data: {{path: {TEXT}}}
windows: {{length: 64, truncate: true}}
"""


@pytest.mark.parametrize(("text", "place", "parts"), [
    ("kv: {type: fake_quant, key: {type: rtn, group: 32}, key_axis: channel}\n", ":5:5: kv.residual: ",
     ["group of 32 tokens", "residual of at least 31, found 0"]),
    ("kv: {type: fake_quant, key: {type: rtn, group: 32}, key_axis: channel, residual: 30}\n", ":5:82: kv.residual: ",
     ["at least 31, found 30"]),
    ("kv: {type: fake_quant, key: {type: rtn, group: 0}, key_axis: chanel}\n", ":5:62: kv.key_axis: ",
     ["unknown 'chanel'", "did you mean 'channel'"]),
    ("kv: {type: fake_quant, value: {type: rtn, group: 128}}\n", ":5:31: kv.value: ",
     ["group 128 does not divide the 64 inputs of kv.value", "16, 32, 64"]),
    ("kv: {type: fake_quant, key: {type: rtn, group: -1}}\n", ":5:29: kv.key: ", ["lets a token of kv.key see later ones", "group: 0"]),
    ("kv: {type: fake_quant, value: {type: nvfp4}}\n", ":5:31: kv.value: ", ["of kv.value see later ones", "global_scale: token"]),
    ("kv: {type: fake_quant, query: {type: nf4, double_quant: true}}\n", ":5:31: kv.query: ", ["double_quant: false"]),
    ("kv: {type: fake_quant, key: {type: nf4, block: 128}}\n", ":5:29: kv.key: ", ["blocks of 128 cross rows of 64"]),
    ("quant: [{match: 'layers.*', input: {type: rtn, group: -1}}]\n", ":5:36: quant[0].input: ",
     ["lets a token of layers.0.self_attn.q_proj see later ones", "write group: 0", "or static: true"]),
    ("quant: [{match: 'layers.*', input: {type: fp8, group: -1}}]\n", ":5:36: quant[0].input: ", ["group: 0", "static: true"]),
    ("quant: [{match: '*.down_proj', input: {type: nvfp4}}]\n", ":5:39: quant[0].input: ",
     ["lets a token of layers.0.mlp.down_proj see later ones", "global_scale: token", "static: true"]),
    ("quant: [{match: 'layers.*', input: {type: hqq}}]\n", ":5:36: quant[0].input: ", ["mean error of all rows", "another type"]),
    ("quant: [{match: 'layers.*', input: {type: nf4, block: 128}}]\n", ":5:36: quant[0].input: ",
     ["a token of layers.0.mlp.down_proj", "blocks of 128 cross rows of 704"]),
    ("quant: [{match: 'layers.*', input: {type: fp4, double_quant: true}}]\n", ":5:36: quant[0].input: ", ["double_quant: false"]),
    ("quant: [{match: lm_head, input: {type: nvfp4}}]\n", ":5:33: quant[0].input: ", ["a token of lm_head", "global_scale: token"]),
    ("quant: [{match: 'layers.*', input: {type: nvfp4, global_scale: tokens}}]\n", ":5:64: quant[0].input.global_scale: ", ["'token'"]),
    ("kv: {type: fake_quant, key: {type: rtn, group: 0}, axis: head}\n", ":5:52: kv.axis: ", ["unknown key"]),
    ("kv: {type: none, residual: 32}\n", ":5:18: kv.residual: ", ["unknown key"]),
    ("kv: {type: fake_qant}\n", ":5:12: kv.type: ", ["did you mean 'fake_quant'"]),
    ("quant: [{match: 'layers.*', input: {type: rtn, group: 0, clip: 0}}]\n", ":5:64: quant[0].input.clip: ", ["must be above 0"]),
], ids=lambda value: value.strip()[:60] if isinstance(value, str) else "")
def test_a_wrong_block_is_named_with_its_place(run, refused, tmp_path, text, place, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(YAML + text, encoding="utf-8")
    refused(file, f"{file}{place}", *parts)
    assert f"{file}{place}" in run("check", file).stderr
