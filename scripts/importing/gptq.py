"""GPTQ and AWQ.  Both store (code - zero) * scale with a scale and a zero for each group of inputs and each output, transposed, in int32."""
import torch

from importing.format import Format
from importing.layer import unpacked

INT32 = (torch.int32,)


def layout(options, *known):
    """Returns the layout of the codes, for which tools have had three names; without any it is the first that is known."""
    key = next((key for key in ("checkpoint_format", "version", "format") if options.values.get(key) is not None), "format")
    return options.one_of(key, known, known[0])


def label(name, bits, group, symmetric):
    return f"{name} W{bits} {f'g{group}' if group else 'channel'}{'' if symmetric else ' asym'}"


class Gptq(Format):
    """AutoGPTQ, GPTQModel, Optimum: codes of inputs lie behind each other in int32, zeros of outputs likewise.

    Files of the first format hold zeros minus one.  An asymmetric zero of 0 became -1 in it, of which only the lowest bits are stored, so that adding
    one and keeping these bits gives 0 again, as in AutoGPTQ's kernels."""

    method, parts = "gptq", ("qweight", "qzeros", "scales", "g_idx")

    def __init__(self, options, source):
        self.bits = options.one_of("bits", (2, 3, 4, 8))
        self.group_size = options.size("group_size", 0)
        self.symmetric = options.get("sym", bool, True)
        self.is_ordered = not options.get("desc_act", bool, False)
        self.shift = 1 if layout(options, "gptq", "gptq_v2") == "gptq" else 0
        options.one_of("pack_dtype", ("int32",), "int32")
        # A rule that begins with "-:" leaves layers as they are; any other gives some layers sizes of their own.
        if any(not rule.startswith("-:") for rule in options.get("dynamic", dict, {})):
            options.fail("dynamic", "and only rules that leave layers out (-:) can be imported")
        self.label = label("GPTQ", self.bits, self.group_size, self.symmetric)

    def weight(self, layer):
        words = layer.take("qweight", INT32, None, None)
        columns, rows = words.shape[0] * 32 // self.bits, words.shape[1]
        group = self.group_size or max(1, columns)
        groups = -(-columns // group) if layer.has("g_idx") else layer.groups("qweight", columns, group)
        scales = layer.scales("scales", groups, rows)
        zeros = layer.take("qzeros", INT32, groups, -(-rows * self.bits // 32))
        by_order = self.is_ordered or groups == 1
        index = torch.arange(columns) // group if by_order and not layer.has("g_idx") else layer.group_index("g_idx", columns, groups)
        zeros = (unpacked(zeros, self.bits, rows) + self.shift) & (2**self.bits - 1)
        codes = unpacked(words.T.contiguous(), self.bits, columns)
        return (codes - zeros.T[:, index]) * scales.T[:, index]


class Awq(Format):
    """AutoAWQ's layout for its gemm kernels: codes of outputs lie behind each other in int32, in the order of ORDER."""

    method, parts = "awq", ("qweight", "qzeros", "scales")
    symmetric = False
    ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # where in an int32 the codes of eight neighbours lie

    def __init__(self, options, source):
        self.bits = options.one_of("bits", (4,), 4)
        self.group_size = options.size("group_size", 0)
        layout(options, "gemm", "GEMM")
        if options.values.get("backend") == "llm-awq":
            options.fail("backend", "which has a layout of its own, and only gemm can be imported")
        options.one_of("zero_point", (True,), True)
        self.label = label("AWQ", self.bits, self.group_size, self.symmetric)

    def codes(self, words):
        return unpacked(words, self.bits, 8 * words.shape[1]).unflatten(1, (-1, 8))[..., list(self.ORDER)].flatten(1)

    def weight(self, layer):
        words = layer.take("qweight", INT32, None, None)
        columns, rows = words.shape[0], 8 * words.shape[1]
        group = self.group_size or max(1, columns)
        groups = layer.groups("qweight", columns, group)
        scales = layer.scales("scales", groups, rows)
        zeros = layer.take("qzeros", INT32, groups, words.shape[1])
        index = torch.arange(columns) // group
        return ((self.codes(words) - self.codes(zeros)[index]) * scales[index]).T
