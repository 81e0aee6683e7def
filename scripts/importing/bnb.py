"""bitsandbytes: NF4, FP4 and LLM.int8.  A file of 4-bit codes holds the 16 values that they stand for, and shape and block size as JSON.

The package reads these only into layers on a device, and rounds to the dtype in them; the tests compare the two."""
import math

import torch

from importing import inputs
from importing.format import Format
from importing.layer import FLOATS
from json_lines import from_json, shortened

STATES = tuple(f"weight.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4"))


class BitsAndBytes(Format):
    method = "bitsandbytes"
    parts = ("weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map", *STATES, "SCB", "weight_format")
    symmetric = True

    def __init__(self, options, source):
        # Older files have the public names, newer ones those with an underscore, too.
        is_int8 = options.get("load_in_8bit", bool, False)
        if not is_int8 and not options.get("load_in_4bit", bool, False):
            options.fail("load_in_4bit", "and load_in_8bit is not true either; correct it")
        self.bits = 8 if is_int8 else 4
        self.group_size = 0 if is_int8 else 64
        kind = options.one_of("bnb_4bit_quant_type", ("fp4", "nf4"), "fp4").upper()
        self.is_nested = options.get("bnb_4bit_use_double_quant", bool, False)
        self.kind, self.threshold = "LLM.int8" if is_int8 else kind, options.number("llm_int8_threshold", 6.0)

    @property
    def label(self):
        return f"bnb {self.kind}" if self.bits == 8 else f"bnb {self.kind} b{self.group_size}{' dq' if self.is_nested else ''}"

    def inputs(self, layer):
        if self.bits == 4:
            return None
        rule = inputs.integers(zero="plain").rule
        return inputs.Inputs(rule, f"inputs above {self.threshold:g}, which LLM.int8 leaves in float16, are rounded, too" if self.threshold else None)

    def weight(self, layer):
        if self.bits == 8:
            codes = layer.matrix("weight", (torch.int8,))
            if layer.has("weight_format") and layer.take("weight_format", (torch.uint8,), counted=False).any():
                layer.fail("weight_format", "is not 0 (rows); save the model with a newer bitsandbytes")
            # The package multiplies with this constant, too: 1 / 127 in float32.
            return codes * layer.scales("SCB", codes.shape[0], kinds=FLOATS[:1])[:, None] * 7.874015718698502e-3
        return self.four_bits(layer)

    def state(self, layer):
        """Returns shape, block size and whether scales are codes, too."""
        part = next((part for part in STATES if layer.has(part)), STATES[0])
        content = bytes(layer.take(part, (torch.uint8,), None, counted=False).tolist())
        try:
            state = from_json(content)
            shape, block = [*state["shape"]], state["blocksize"]
            nested = (state["nested_blocksize"], float(state["nested_offset"])) if "nested_blocksize" in state else None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            layer.fail(part, f"is no state of bitsandbytes ({type(error).__name__}); fetch it again")
        sizes = [*shape, block, *(nested[:1] if nested else ())]
        if len(shape) != 2 or not all(type(size) is int and 1 <= size < 2**31 for size in sizes) or (nested and not math.isfinite(nested[1])):
            layer.fail(part, f"is {shortened(state)}, which has no sizes of a matrix; fetch it again")
        return shape, block, nested

    def four_bits(self, layer):
        shape, block, nested = self.state(layer)
        self.group_size, self.is_nested = block, nested is not None
        codes = layer.take("weight", (torch.uint8, torch.int8, *FLOATS)).contiguous().flatten().view(torch.uint8)  # some files hold them as floats
        count = shape[0] * shape[1]
        if codes.numel() != -(-count // 2):
            layer.fail("weight", f"has {codes.numel()} bytes, and {shape[0]} x {shape[1]} codes of 4 bits have {-(-count // 2)}; fetch it again")
        values = layer.scales("weight.quant_map", 16, counted=False)  # the format's own, the same everywhere
        blocks = -(-count // block)
        if nested is None:
            largest = layer.scales("weight.absmax", blocks, kinds=FLOATS[:1])
        else:
            steps = layer.take("weight.absmax", (torch.uint8,), blocks)
            over = layer.scales("weight.nested_absmax", -(-blocks // nested[0]), kinds=FLOATS[:1])
            parts = layer.scales("weight.nested_quant_map", 256, counted=False)
            largest = parts[steps.int()] * over.repeat_interleave(min(nested[0], blocks))[:blocks] + nested[1]
        codes = torch.stack((codes >> 4, codes & 15), 1).flatten()[:count].int()
        return (values[codes] * largest.repeat_interleave(min(block, count))[:count]).reshape(shape)
