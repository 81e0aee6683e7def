"""torchao as transformers writes it: the header of the safetensors file says of which class a weight was, and holds its fields as JSON."""
import json
from typing import NamedTuple

import torch

from importing import inputs
from importing.format import Format, only
from importing.layer import FLOAT8, FLOATS
from importing.options import Options
from json_lines import BadInput, from_json

CLASSES = ("Int8Tensor", "IntxUnpackedToInt8Tensor", "Float8Tensor", "Int4Tensor")
ENDS = ("qdata", "scale", "zero_point", "act_pre_scale", "act_quant_scale", "act_quant_zero_point")


class Kind(NamedTuple):
    """What one weight is; is_tensor: one scale for all of it."""

    bits: int
    is_float: bool
    group: int
    symmetric: bool
    is_tensor: bool


class TorchAo(Format):
    method, parts = "torchao", tuple(f"_weight_{end}" for end in ENDS)
    beside = ("_weight_act_quant_scale", "_weight_act_quant_zero_point")

    def __init__(self, options, source):
        if source.pickled:
            raise BadInput("pytorch_model.bin of torchao holds classes of its own; save it as safetensors with transformers 5")
        self.header, self.found = source.metadata(), set()

    def state(self, layer):
        """Returns the class and the fields of a weight."""
        name = f"{layer.name}.weight"
        place = f"{layer.source.files[layer.parts[next(iter(layer.parts))]].name}: metadata '{name}'"
        try:
            state = from_json(self.header.get(name, "null"))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{place}: broken JSON; fetch it again") from error
        if not isinstance(state, dict):
            raise BadInput(f"{place}: is missing; fetch it again")
        state = Options(state, f"{place}: ")
        return state.one_of("_type", CLASSES), state.at("_data")

    def weight(self, layer):
        kind, fields = self.state(layer)
        if layer.has("_weight_act_pre_scale"):
            layer.fail("_weight_act_pre_scale", "scales inputs when the model runs, which cannot be imported")
        if kind == "Int4Tensor":
            return self.four_bits(layer, fields)
        codes = layer.matrix("_weight_qdata", FLOAT8 if kind == "Float8Tensor" else (torch.int8,))
        shape = tuple(codes.shape)
        block = fields.block("block_size")
        bits = self.width(fields) if kind == "IntxUnpackedToInt8Tensor" else 8
        layer.bits -= (8 - bits) * codes.numel()  # a byte each, of which the format has so many bits
        group = block[1] if block[1] < shape[1] else 0
        if group:
            layer.groups("_weight_qdata", shape[1], group)
        zeros = torch.zeros(1)
        if layer.has("_weight_zero_point"):
            zeros = layer.scales("_weight_zero_point", kinds=(torch.int8, *FLOATS))
        self.found.add(Kind(bits, kind == "Float8Tensor", group, not zeros.any().item(), block[0] > 1))
        scales = layer.blocks("_weight_scale", layer.scales("_weight_scale"), shape, block)
        zeros = layer.blocks("_weight_zero_point", zeros, shape, block) if zeros.any() else 0
        return (codes.float() - zeros) * scales

    def width(self, fields):
        """Returns the bits of target_dtype, int1 to int8."""
        name = fields.at("target_dtype").get("_data", str)
        if name not in [f"int{bits}" for bits in range(1, 9)]:
            fields.fail("target_dtype", "not int1 to int8; fetch it again")
        return int(name.removeprefix("int"))

    def four_bits(self, layer, fields):
        """Codes of -8 to 7, two a byte, the lower four bits first; scales and zeros, which are weights, lie transposed."""
        packed, group = layer.matrix("_weight_qdata", (torch.int8, torch.uint8)).view(torch.int8), fields.block("block_size")[1]
        codes = torch.stack((packed << 4 >> 4, packed >> 4), -1).flatten(1)
        shape = tuple(codes.shape)
        count = layer.groups("_weight_qdata", shape[1], group)
        scales, zeros = (layer.scales(f"_weight_{part}", count, shape[0]) for part in ("scale", "zero_point"))
        self.found.add(Kind(4, is_float=False, group=group, symmetric=False, is_tensor=False))
        scales, zeros = (layer.blocks(f"_weight_{part}", x.T, shape, (1, group)) for part, x in (("scale", scales), ("zero_point", zeros)))
        return codes * scales + zeros

    @property
    def bits(self):
        return only(kind.bits for kind in self.found)

    @property
    def group_size(self):
        return only(kind.group for kind in self.found)

    @property
    def symmetric(self):
        return only(kind.symmetric for kind in self.found)

    @property
    def label(self):
        if len(self.found) != 1:
            return "torchao mixed"
        kind = next(iter(self.found))
        over = f"g{kind.group}" if kind.group else "tensor" if kind.is_tensor else "channel"
        return f"torchao {'FP' if kind.is_float else 'W'}{kind.bits} {over}{'' if kind.symmetric else ' asym'}"

    def inputs(self, layer):
        fields = self.state(layer)[1]
        if layer.has("_weight_act_quant_scale"):
            return inputs.left_out("rounded with a range of the checkpoint")
        given = fields.at("act_quant_kwargs", None)
        if given is not None:
            return self.rounded(given)
        kind = fields.values.get("activation_quantization")
        if kind is None:
            return None
        return inputs.integers(symmetric=False) if "int8_asym_per_token" in json.dumps(kind).lower() else inputs.left_out(json.dumps(kind)[:40])

    def rounded(self, given):
        """Returns the rule for act_quant_kwargs."""
        fields = given.at("_data")
        over = fields.at("granularity").get("_type", str)
        kind = given.get("_type", str)
        if over != "PerRow" or kind not in ("QuantizeTensorToInt8Kwargs", "QuantizeTensorToFloat8Kwargs"):
            return inputs.left_out(f"{kind.removeprefix('QuantizeTensorTo').removesuffix('Kwargs')}, {over}")
        mapping = fields.at("mapping_type", None)
        return inputs.floats() if "Float8" in kind else inputs.integers(symmetric=mapping is None or mapping.values.get("_data") == "SYMMETRIC")
