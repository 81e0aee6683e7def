"""What the metadata of a GGUF file say of the model beside sizes and RoPE scaling: it is acted on, changes nothing, or is one line."""
import json

import pytest

from gguf_models import HEAD, imported

from json_lines import BadInput  # gguf_models has put scripts/ on the path


def saying(key, value):
    def change(writer):
        kind = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}[type(value)]
        kind(f"llama.{key}", value)

    return change


@pytest.mark.parametrize(("key", "value"), [
    ("logit_scale", 0.5), ("embedding_scale", 2.0), ("residual_scale", 0.5), ("attention.scale", 0.5), ("attention.clamp_kqv", 8.0),
    ("final_logit_softcapping", 30.0), ("use_parallel_residual", True), ("attention.causal", False), ("expert_count", 8), ("rope.freq_base_swa", 1e4),
    ("rope.dimension_sections", [1, 2, 3]), ("rope.scaling.alpha", 4.0)])
def test_what_nothing_acts_on_is_one_line(tmp_path, key, value):
    with pytest.raises(BadInput) as caught:
        imported(tmp_path, change=saying(key, value))
    assert str(caught.value) == f"metadata key 'llama.{key}' is {json.dumps(value)}, which is not supported; import a file of a Llama model without it"
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize(("key", "value"), [
    ("vocab_size", 3), ("tensor_data_layout", "Meta AI original pth"), ("attention.causal", True), ("attention.layer_norm_epsilon", 1e-5),
    ("expert_count", 0), ("attention.key_length", HEAD), ("attention.value_length", HEAD), ("rope.scaling.finetuned", True)])
def test_what_changes_nothing_passes(tmp_path, key, value):
    out, _ = imported(tmp_path, change=saying(key, value))
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["head_dim"] == HEAD


@pytest.mark.parametrize("key", ["attention.key_length", "attention.value_length"])
def test_heads_of_which_a_part_turns_are_one_line(tmp_path, key):
    with pytest.raises(BadInput, match=f"metadata key 'llama.{key}' is 8, and RoPE turns 16, which no Llama model does"):
        imported(tmp_path, change=saying(key, 8))


def test_a_part_of_a_model_says_how_to_merge_it(tmp_path):
    with pytest.raises(BadInput, match=r"is one of 2 parts of a model \(split.count\); merge them"):
        imported(tmp_path, change=lambda writer: writer.add_uint16("split.count", 2))


def test_a_sliding_window_stands_in_config_json_where_the_program_judges_it(tmp_path, run, experiment):
    out, _ = imported(tmp_path, change=saying("attention.sliding_window", 32))
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["sliding_window"] == 32
    (tmp_path / "text.txt").write_text("ab" * 100, encoding="utf-8")
    process = run("check", experiment({"model.path": str(out), "data.path": str(tmp_path / "text.txt"), "windows": {"length": 64}, "sweep": None}))
    assert process.returncode == 1 and "sliding_window" in process.stderr
