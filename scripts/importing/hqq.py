"""HQQ as transformers writes it: every field of a layer is a tensor of its own, texts as their bytes.

The package loads such layers only onto a GPU, and multiplies in float16; the tests compare the two."""
import torch

from importing.format import Format, only
from importing.gptq import label
from importing.layer import FLOATS

# How many codes a number holds; the first lie in its highest bits, and each takes a part of the rows.
PACKINGS = {"8bit_u8": (8, 1), "4bit_u8": (4, 2), "2bit_u8": (2, 4), "1bit_u8": (1, 8), "3bit_32": (3, 10)}
META = ("nbits", "group_size", "shape", "axis", "packing", "unpack_view_dtype", "view_as_float", "quant_scale", "quant_zero", "compute_dtype", "offload_meta",
        "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero")
WHOLE = (torch.int32, torch.int64, torch.uint8)


class Hqq(Format):
    method, parts, beside = "hqq", ("W_q", "scale", "zero", *META), META
    symmetric = False

    def __init__(self, options, source):
        self.found = set()
        config = options.at("quant_config", None)
        if config and (config.values.get("scale_quant_params") or config.values.get("zero_quant_params")):
            config.fail("scale_quant_params", "and quantized scales or zeros cannot be imported")

    @property
    def bits(self):
        return only(bits for bits, _ in self.found)

    @property
    def group_size(self):
        return only(group for _, group in self.found)

    @property
    def label(self):
        return "HQQ mixed" if len(self.found) != 1 else label("HQQ", self.bits, self.group_size, True)

    def number(self, layer, part, default=None):
        if default is not None and not layer.has(part):
            return default
        tensor = layer.take(part, WHOLE, counted=False)
        if tensor.numel() != 1:
            layer.fail(part, f"has shape {tuple(tensor.shape)}, and is to be one number; fetch it again")
        return int(tensor)

    def weight(self, layer):
        shape = layer.take("shape", WHOLE, 2, counted=False).tolist()
        axis, group = self.number(layer, "axis", 1), self.number(layer, "group_size", 0)
        packing = bytes(layer.take("packing", (torch.uint8,), None, counted=False).tolist()).decode("ascii", "replace")
        if packing not in PACKINGS or self.number(layer, "nbits") != PACKINGS[packing][0]:
            layer.fail("packing", f"is '{packing[:20]}', which does not go with its nbits; only {', '.join(PACKINGS)} can be imported")
        for part in ("quant_scale", "quant_zero"):
            if self.number(layer, part, 0):
                layer.fail(part, "is true, and quantized scales or zeros cannot be imported")
        count = shape[0] * shape[1]
        side = group or (shape[1] if axis == 1 else shape[0])  # numbers that share a scale
        if axis not in (0, 1) or min(shape) < 1 or side < 1 or count % side:
            layer.fail("shape", f"is {shape}, which groups of {side} along axis {axis} do not divide; fetch it again")
        rows, columns = (count // side, side) if axis == 1 else (side, count // side)
        codes = self.codes(layer, packing, rows, columns)
        scale_shape = (rows, 1) if axis == 1 else (1, columns)
        scales, zeros = (layer.scales(part, *scale_shape) for part in ("scale", "zero"))
        self.found.add((PACKINGS[packing][0], group))
        return ((codes - zeros) * scales).reshape(shape)

    def codes(self, layer, packing, rows, columns):
        bits, each = PACKINGS[packing]
        kind = torch.int32 if packing == "3bit_32" else torch.uint8
        packed = layer.take("W_q", (kind, *FLOATS), None, None).contiguous()
        packed = packed.view(kind) if packed.dtype in FLOATS else packed  # view_as_float: the same bits
        if tuple(packed.shape) != (-(-rows // each), columns):
            layer.fail("W_q", f"has shape {tuple(packed.shape)}, which is not that of {rows} x {columns} codes of {bits} bits; fetch it again")
        parts = [(packed >> (bits * (each - 1 - part))) & (2**bits - 1) for part in range(each)]
        return torch.cat(parts)[:rows]
