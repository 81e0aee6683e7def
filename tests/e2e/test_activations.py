"""Quantized activations and caches in whole runs: what they cost tiny-books, and the errors of blocks that cannot be."""
import pytest

from support.program import TEXT, TINY_BOOKS, read_rows

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
    ("kv: {type: fake_quant, key: {type: rtn, group: -1}}\n", ":5:29: kv.key: ", ["lets a query see later tokens"]),
    ("kv: {type: fake_quant, key: {type: rtn, group: 0}, axis: head}\n", ":5:52: kv.axis: ", ["unknown key"]),
    ("kv: {type: none, residual: 32}\n", ":5:18: kv.residual: ", ["unknown key"]),
    ("kv: {type: fake_qant}\n", ":5:12: kv.type: ", ["did you mean 'fake_quant'"]),
    ("quant: [{match: 'layers.*', input: {type: rtn, group: 0, clip: 0}}]\n", ":5:64: quant[0].input.clip: ", ["must be above 0"]),
], ids=lambda value: value.strip()[:60] if isinstance(value, str) else "")
def test_a_wrong_block_is_named_with_its_place(refused, tmp_path, text, place, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(YAML + text, encoding="utf-8")
    refused(file, f"{file}{place}", *parts)
