"""What a format rounds inputs to when it runs, as the `input:` of a rule of `quant`, which docs/config.md describes; or why no rule does that."""

RANGE = "its range comes from your calibration texts (`calibration:`), not from the checkpoint"


class Inputs:
    """`rule` is the map for `input:`, or None where the program has none; `note` says what differs from the format."""

    def __init__(self, rule=None, note=None):
        self.rule, self.note = rule, note

    def __eq__(self, other):
        return isinstance(other, Inputs) and (self.rule, self.note) == (other.rule, other.note)

    def __hash__(self):
        return hash((str(self.rule), self.note))


def without_rule(what):
    return f"{what} when the format runs, for which the program has no rule: left out"


def left_out(what):
    return Inputs(note=without_rule(f"inputs are {what}"))


def integers(bits=8, symmetric=True, zero="included"):
    """A scale for each token.  The field's symmetric grid has 2^bits - 1 steps over the range, which `included` is."""
    return Inputs({"type": "rtn", "bits": bits, "group": 0, "symmetric": symmetric, "zero": zero})


def floats(group=0):
    return Inputs({"type": "fp8", "group": group})


def static(rule):
    """One scale for the whole tensor from calibration; with a dynamic one, tokens would see each other."""
    return Inputs(rule | {"static": True}, RANGE)


def of_compressed(options):
    """Returns what an entry input_activations of compressed-tensors means."""
    bits, is_float = options.get("num_bits", int, 8), options.one_of("type", ("int", "float"), "int") == "float"
    strategy, dynamic = options.get("strategy", str, "tensor"), options.values.get("dynamic", False)
    group = options.size("group_size", 0)
    if is_float and bits == 4:
        if strategy == "tensor_group":
            return static({"type": "nvfp4"})
        return Inputs({"type": "mxfp4"}) if group == 32 else left_out(f"FP4 in groups of {group}")
    if is_float and bits == 8:
        if group == 32 and strategy == "group":
            return Inputs({"type": "mxfp8"})
        if dynamic is True and strategy == "token":
            return floats()
        if dynamic is True and strategy == "group":
            return floats(group)
        return static({"type": "fp8", "group": -1}) if dynamic is False and strategy == "tensor" else left_out(f"FP8, one scale a {strategy}")
    symmetric = options.get("symmetric", bool, True)
    if is_float or not 2 <= bits <= 8:
        return left_out(f"{'float' if is_float else 'int'} of {bits} bits")
    if dynamic is True and strategy == "token":
        return integers(bits, symmetric)
    if dynamic is False and strategy == "tensor":
        return static({"type": "rtn", "bits": bits, "group": -1, "symmetric": symmetric, "zero": "included"})
    return left_out(f"int{bits}, one scale a {strategy}")
