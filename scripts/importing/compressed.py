"""compressed-tensors, as llm-compressor writes it: integers packed into int32 or not, FP8, FP4 with scales of FP8 or of powers of two.

The package compressed-tensors reads these, too, but it multiplies in the dtype of the scales, which rounds the weights a second time, and its newer
releases refuse weight_g_idx and the packed zeros of older ones.  The tests compare the two."""
import re

import torch

from importing.format import KV_CACHE, Format, only
from importing.inputs import of_compressed, without_rule
from importing.layer import FLOAT8, FLOATS, float4, unpacked
from json_lines import BadInput, printable

FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized",
           "mixed-precision", "dense")
STRATEGIES = ("tensor", "channel", "group", "block", "tensor_group")
MOST_REPEATS = 3  # in a regular expression of a target: what it costs grows with the names' length to this power


class Group:
    """What config_groups says of some layers: a grid for weights, and what rounds their inputs."""

    def __init__(self, options, default_format):
        self.targets = [target for target in options.get("targets", list) if isinstance(target, str)]
        weights, inputs = options.at("weights", None), options.at("input_activations", None)
        self.format = options.one_of("format", FORMATS, default_format)
        self.inputs, self.is_empty = inputs and of_compressed(inputs), weights is None
        self.notes = self.unruled(inputs, options.at("output_activations", None))
        if self.is_empty:
            return
        self.floats = weights.one_of("type", ("int", "float"), "int") == "float"
        self.bits = weights.one_of("num_bits", (4, 8) if self.floats else tuple(range(2, 9)), 8)
        self.symmetric = weights.get("symmetric", bool, True)
        if self.floats and not self.symmetric:
            weights.fail("symmetric", "and float formats have no zero point")
        self.group_size = weights.size("group_size", 0)
        implied = "group" if self.group_size else "tensor" if weights.values.get("group_size") is None else "channel"
        self.strategy = weights.one_of("strategy", STRATEGIES, implied)
        if self.strategy in ("group", "tensor_group") and not self.group_size:
            weights.fail("group_size", f"and strategy {self.strategy} needs one")
        if self.strategy not in ("group", "tensor_group"):
            self.group_size = 0
        self.block = weights.block("block_structure") if self.strategy == "block" else None
        self.is_ordered = weights.values.get("actorder") not in (True, "group", "dynamic")  # whose groups weight_g_idx names
        self.label = self.described(inputs)

    def unruled(self, inputs, outputs):
        """Returns lines on what is rounded beside weights and the inputs of layers that have them."""
        where = printable(", ".join(self.targets))[:60]
        found = [f"inputs of {where}, which have no quantized weights, are rounded"] if inputs and self.is_empty else []
        return [without_rule(what) for what in found + ([f"outputs of {where} are rounded"] if outputs else [])]

    def described(self, inputs):
        """Returns W4A16 g128 asym, FP8 channel, NVFP4 or NVFP4A16."""
        bits = inputs.get("num_bits", int, 8) if inputs else 16
        over = {"block": f"block {self.block and 'x'.join(map(str, self.block))}", "group": f"g{self.group_size}"}.get(self.strategy, self.strategy)
        if self.floats and self.bits == 4:
            return ("NVFP4" if self.strategy == "tensor_group" else "MXFP4") + ("A16" if bits == 16 else "")
        if self.format == "mxfp8-quantized":
            return "MXFP8"
        if self.floats:
            return f"FP8{'A16' if bits == 16 else ''} {over}"
        return f"W{self.bits}A{bits} {over}{'' if self.symmetric else ' asym'}"

    def blocks_of(self, shape):
        return {"tensor": shape, "channel": (1, shape[1]), "block": self.block}.get(self.strategy, (1, self.group_size))


def rank(target, name):
    """Returns how narrowly a target means a layer, 0 by its name, 1 by a regular expression, 2 by its class; None where it means others."""
    if target.startswith("re:"):
        return 1 if re.match(target[3:], name) else None
    return {name: 0, "Linear": 2}.get(target)


def check_target(options, target):
    """Refuses a regular expression that could take more than a moment."""
    if target.startswith("re:"):
        try:
            re.compile(target[3:])
        except re.error as error:
            options.fail("targets", f"and '{target[:60]}' is no regular expression ({error})")
        if len(re.findall(r"[*+{]", target)) > MOST_REPEATS or re.search(r"\)[*+?{]", target):
            options.fail("targets", f"and '{target[:60]}' repeats too much to be compared with names; name the layers")


class Compressed(Format):
    method = "compressed-tensors"
    beside = ("input_scale", "input_zero_point", "input_global_scale", "output_scale", "output_zero_point")
    parts = ("weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx", "weight_global_scale", *beside)

    def __init__(self, options, source):
        form = options.one_of("format", FORMATS, "dense")
        sparsity = options.at("sparsity_config", None)
        if sparsity and sparsity.values:
            sparsity.one_of("format", ("dense",), "dense")
        if options.get("transform_config", dict, {}):
            options.fail("transform_config", "and rotated checkpoints cannot be imported, since rotations run with the model")
        self.groups = []
        groups = options.at("config_groups")
        for one in map(groups.at, groups.values):
            self.groups.append(Group(one, form))
            for target in self.groups[-1].targets:
                check_target(one, target)
        real = [group for group in self.groups if not group.is_empty]
        labels = list(dict.fromkeys(group.label for group in real)) or ["dense"]
        self.label = labels[0] if len(labels) == 1 else f"{labels[0]} + {len(labels) - 1} more"
        self.bits, self.group_size, self.symmetric = (only(getattr(group, name) for group in real) for name in ("bits", "group_size", "symmetric"))
        self.is_dense = form == "dense"
        self.notes = [KV_CACHE] if options.values.get("kv_cache_scheme") is not None else []
        self.notes += [note for group in self.groups for note in group.notes]

    def group(self, layer):
        """Returns the group of a layer: of several that mean it the one that does so most narrowly, then by the alphabet, as in compressed-tensors."""
        targets = {target: group for group in self.groups for target in group.targets}
        ranked = sorted((rank(target, layer.name), target) for target in targets if rank(target, layer.name) is not None)
        found = self.groups[0] if len(self.groups) == 1 else targets[ranked[0][1]] if ranked else None
        if found is None or found.is_empty:
            raise BadInput(f"config.json: quantization_config.config_groups has no weights for {layer.name}, which has {', '.join(sorted(layer.parts))}; "
                           "is it that of these weights?")
        return found

    def inputs(self, layer):
        return self.group(layer).inputs

    def weight(self, layer):
        group = self.group(layer)
        if not layer.has("weight_packed"):
            return self.plain(layer, group)
        if group.floats:
            return self.packed_floats(layer, group)
        return self.packed_integers(layer, group)

    def packed_integers(self, layer, group):
        shape = tuple(layer.take("weight_shape", (torch.int64, torch.int32), 2, counted=False).tolist())
        words = layer.take("weight_packed", (torch.int32,), None, None)
        if min(shape) < 1 or tuple(words.shape) != (shape[0], -(-shape[1] * group.bits // 32)):
            layer.fail("weight_packed", f"has shape {tuple(words.shape)}, which is not that of {group.bits}-bit codes for weight_shape {shape}")
        return self.on_grid(layer, group, unpacked(words, group.bits, shape[1]) - 2**(group.bits - 1))

    def zeros(self, layer, group, shape, block):
        """Returns the zero point of each weight, or None in a symmetric group; in packed files they are packed along the outputs."""
        if group.symmetric and not layer.has("weight_zero_point"):
            return None
        kinds = (torch.int8, torch.int32, *((*FLOATS, *FLOAT8) if group.symmetric else ()))
        zeros = layer.take("weight_zero_point", kinds, counted=not group.symmetric)
        if zeros.dtype == torch.int32:
            rows = -(-shape[0] // block[0])
            if zeros.dim() != 2 or zeros.shape[0] != -(-rows * group.bits // 32):
                layer.fail("weight_zero_point", f"has shape {tuple(zeros.shape)}, which is not that of {group.bits}-bit zeros of {rows} rows")
            zeros = unpacked(zeros.T.contiguous(), group.bits, rows).T - 2**(group.bits - 1)
        if group.symmetric and zeros.float().any():
            layer.fail("weight_zero_point", "is not 0, and quantization_config says symmetric; is it that of these weights?")
        return None if group.symmetric else zeros.float()

    def on_grid(self, layer, group, codes, quantize=None):
        """Returns (codes - zero) * scale; `quantize`, where codes are weights that are not rounded yet, makes them codes."""
        shape = tuple(codes.shape)
        block = group.blocks_of(shape)
        count = layer.groups(next(part for part in ("weight_packed", "weight") if layer.has(part)), shape[1], block[1]) if group.group_size else 1
        scales = layer.take("weight_scale", (*FLOATS, torch.uint8)) if group.format.startswith("mx") else layer.take("weight_scale", FLOATS)
        if scales.dtype == torch.uint8:
            scales = powers(layer, scales)
        scales = layer.whole("weight_scale", scales.float())
        zeros = self.zeros(layer, group, shape, block)
        if layer.has("weight_g_idx") or not (group.is_ordered or count == 1):
            index = layer.take("weight_g_idx", (torch.int32, torch.int64), shape[1], counted=False)
            if not (index == -1).all():  # what the package writes where inputs are in order
                index = layer.group_index("weight_g_idx", shape[1], count)
                scales, zeros = (each if each is None else layer.blocks(part, each, (shape[0], count), (1, 1))[:, index]
                                 for part, each in (("weight_scale", scales), ("weight_zero_point", zeros)))
                block = (1, 1)
        scales = layer.blocks("weight_scale", scales, shape, block)
        zeros = 0 if zeros is None else layer.blocks("weight_zero_point", zeros, shape, block)
        codes = codes.float() if quantize is None else quantize(codes / scales + zeros)
        return (codes - zeros) * scales

    def packed_floats(self, layer, group):
        codes = float4(layer.matrix("weight_packed", (torch.uint8,)))
        if group.strategy != "tensor_group":
            return self.on_grid(layer, group, codes)
        layer.groups("weight_packed", codes.shape[1], group.group_size)
        scales = layer.scales("weight_scale", kinds=(*FLOATS, *FLOAT8)) / layer.one("weight_global_scale")
        self.zeros(layer, group, tuple(codes.shape), (1, group.group_size))
        return codes * layer.blocks("weight_scale", scales, tuple(codes.shape), (1, group.group_size))

    def plain(self, layer, group):
        """Codes that are stored as they are; or weights that the model rounds when it runs (format dense, quantization_status frozen)."""
        weight = layer.matrix("weight", (torch.int8, *FLOAT8, *FLOATS))
        if weight.dtype not in FLOATS:
            if group.floats != (weight.dtype in FLOAT8):
                layer.fail("weight", f"is of {weight.dtype}, and quantization_config says {'float' if group.floats else 'int'}; is it that of these weights?")
            return self.on_grid(layer, group, weight)
        if group.floats and group.bits == 4:
            layer.fail("weight", "is in full precision with scales of FP4; save the model compressed (save_compressed=True)")
        least = -(2**(group.bits - 1))
        quantize = (lambda x: x.clamp(-448, 448).to(FLOAT8[0]).float()) if group.floats else (lambda x: x.round().clamp(least, -least - 1))
        layer.bits -= (8 * weight.element_size() - group.bits) * weight.numel()  # what the format would store
        return self.on_grid(layer, group, weight.float(), quantize)


def powers(layer, exponents):
    """Returns the powers of two that a byte stands for in MX formats, in which 255 is NaN."""
    if (exponents == 255).any():
        layer.fail("weight_scale", "holds NaN (255); fetch it again")
    return torch.exp2(exponents.double() - 127).float()
