"""FP8 and NVFP4 outside of compressed-tensors: transformers' and vLLM's fp8 (DeepSeek's blocks, too), FBGEMM, NVIDIA's ModelOpt.

A weight is its code times a scale of its tensor, row or block.  DeepSeek calls that scale weight_scale_inv, and multiplies with it, too; its newer files
hold powers of two (ue8m0)."""
import torch

from importing import inputs
from importing.format import KV_CACHE, Format, only
from importing.layer import FLOAT8, FLOATS, float4

DEFAULT_BLOCK = (128, 128)  # transformers' where config.json has none


def scaled(layer, part, block):
    """Returns FP8 codes times their scales, and what shares one: tensor, channel or block."""
    codes = layer.matrix("weight", FLOAT8)
    scales, shape = layer.scales(part, kinds=(*FLOATS, torch.float8_e8m0fnu)), tuple(codes.shape)
    if scales.numel() == 1:
        block, over = shape, "tensor"
    elif block is None and scales.numel() == shape[0]:
        block, over = (1, shape[1]), "channel"
    else:
        block = block or DEFAULT_BLOCK
        over = f"block {block[0]}x{block[1]}"
    return codes.float() * layer.blocks(part, scales, shape, block), over


class Fp8(Format):
    """quant_method fp8, and fbgemm_fp8 by its subclass."""

    method, name = "fp8", "FP8"
    beside = ("input_scale", "input_scale_ub", "activation_scale")
    parts = ("weight", "weight_scale", "weight_scale_inv", *beside)
    bits, group_size, symmetric = 8, 0, True

    def __init__(self, options, source):
        self.block = options.block("weight_block_size", None)
        options.one_of("fmt", ("e4m3",), "e4m3")
        self.is_static = options.one_of("activation_scheme", ("dynamic", "static"), "dynamic") == "static"
        self.has_powers = options.one_of("scale_fmt", ("float", "ue8m0"), "float") == "ue8m0"
        self.over = set()

    @property
    def label(self):
        return f"{self.name} {only(self.over - {'tensor'} or self.over) or 'mixed'}"  # a layer may be no larger than a block

    def inputs(self, layer):
        if self.is_static:
            return inputs.static({"type": "fp8", "group": -1})
        if self.has_powers:
            return inputs.left_out("FP8 with a power of two for each block")
        block = self.block or (DEFAULT_BLOCK if any(over.startswith("block") for over in self.over) else None)
        return inputs.floats(block[1] if block else 0)

    def weight(self, layer):
        weight, over = scaled(layer, "weight_scale_inv" if layer.has("weight_scale_inv") else "weight_scale", self.block)
        self.over.add(over)
        return weight


class FbgemmFp8(Fp8):
    method, name = "fbgemm_fp8", "FBGEMM FP8"

    def __init__(self, options, source):
        super().__init__(options, source)
        self.most = options.number("activation_scale_ub", 1200.0)  # transformers' default

    def inputs(self, layer):
        return inputs.Inputs(inputs.floats().rule, inputs.without_rule(f"inputs beyond {self.most:g} (activation_scale_ub) are cut off"))


class ModelOpt(Format):
    """NVIDIA's ModelOpt: FP8 with a scale for each tensor, NVFP4 with FP8 scales for 16 inputs under one of float32."""

    method = "modelopt"
    beside = ("input_scale",)
    parts = ("weight", "weight_scale", "weight_scale_2", "pre_quant_scale", *beside)
    symmetric = True

    def __init__(self, options, source):
        self.is_fp4 = options.one_of("quant_algo", ("FP8", "NVFP4")) == "NVFP4"
        self.bits, self.group_size, self.label = (4, 16, "NVFP4 (ModelOpt)") if self.is_fp4 else (8, 0, "FP8 tensor (ModelOpt)")
        if self.is_fp4 and options.size("group_size", 16) != 16:
            options.fail("group_size", "and NVFP4 has groups of 16")
        self.notes = [KV_CACHE] if any(options.values.get(key) is not None for key in ("kv_cache_quant_algo", "kv_cache_scheme")) else []

    def inputs(self, layer):
        return inputs.static({"type": "nvfp4"} if self.is_fp4 else {"type": "fp8", "group": -1})

    def weight(self, layer):
        if layer.has("pre_quant_scale"):
            layer.fail("pre_quant_scale", "scales inputs when the model runs (AWQ), which cannot be imported")
        if not self.is_fp4:
            return scaled(layer, "weight_scale", None)[0]
        codes = float4(layer.matrix("weight", (torch.uint8,)))
        layer.groups("weight", codes.shape[1], self.group_size)
        scales = layer.scales("weight_scale", kinds=FLOAT8) * layer.one("weight_scale_2")
        return codes * layer.blocks("weight_scale", scales, tuple(codes.shape), (1, self.group_size))
