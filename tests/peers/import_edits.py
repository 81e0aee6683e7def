"""Small quantized checkpoints, one of each layout, and what can be wrong with them, for the tests of scripts/import_checkpoint."""
import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from checkpoints import set_fields
from quantized import awq, compressed_act_order, fp8, gptq, modelopt_nvfp4
from quantized_by_tools import bits_and_bytes, compressed, hqq, torch_ao
from support.program import litter
from test_import_checkpoint import F4, F8, SCRIPT, W4

from json_lines import BadInput, printable  # test_import_checkpoint has put scripts/ on the path

LAYER = "model.layers.0.self_attn.q_proj"


def int8(source, folder):
    from torchao.quantization import Int8WeightOnlyConfig

    return torch_ao(Int8WeightOnlyConfig)(source, folder)


MAKERS = {
    "gptq": (None, gptq(symmetric=False)), "awq": (None, awq()), "packed": ("compressed_tensors", compressed("pack-quantized", W4 | {"symmetric": False})),
    "act-order": (None, compressed_act_order), "nvfp4": ("compressed_tensors", compressed("nvfp4-pack-quantized", F4)),
    "block": ("compressed_tensors", compressed("float-quantized", F8 | {"strategy": "block", "block_structure": [32, 64]})),
    "fp8": (None, fp8()), "modelopt": ("compressed_tensors", modelopt_nvfp4), "hqq": ("hqq", hqq(4, 32, 1)), "torchao": ("torchao", int8),
    "nf4": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    "int8": ("bitsandbytes", bits_and_bytes(load_in_8bit=True)),
}


def with_metadata(change):
    """An edit of the one file: `change` of its tensors, which keeps what the header says beside them."""

    def edit(folder):
        with safe_open(folder / "model.safetensors", "pt") as file:
            kept = file.metadata()
        tensors = change(load_file(folder / "model.safetensors"))
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors", metadata=kept)

    return edit


def changed(part, change):
    return with_metadata(lambda tensors: tensors | {f"{LAYER}.{part}": change(tensors[f"{LAYER}.{part}"])})


def without(part):
    return with_metadata(lambda tensors: {name: tensor for name, tensor in tensors.items() if name != f"{LAYER}.{part}"})


def first(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


def options(**fields):
    """An edit of quantization_config."""

    def edit(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        set_fields(quantization_config=config["quantization_config"] | fields)(folder)

    return edit


def group_0(**fields):
    def edit(folder):
        groups = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]["config_groups"]
        groups["group_0"]["weights"] |= fields
        options(config_groups=groups)(folder)

    return edit


def refused(folder):
    """The message with which an import of the folder is refused, beside which nothing is left."""
    out = folder.with_name("out")
    with pytest.raises((BadInput, OSError)) as caught:
        SCRIPT.import_checkpoint(folder, out, None)
    message = str(caught.value)
    assert not out.exists() and not litter(folder.parent)
    assert "\n" not in message and printable(message).isprintable() and len(message) < 600, message
    return message
