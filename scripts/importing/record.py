"""What an import says of itself: imported.json, and the rules of `quant` that round inputs as the format does."""
import platform
from collections import Counter

import safetensors
import torch


def short(name):
    """Returns a layer's name as rules have it: layers.0.mlp.up_proj, lm_head."""
    return name.removeprefix("model.")


def suffixes(names):
    """Returns {the rest of a name: numbers of layers}; what is in no layer has none."""
    found = {}
    for name in names:
        head, _, rest = name.partition(".")
        number, _, rest = rest.partition(".") if head == "layers" else ("", "", name)
        found.setdefault(rest, set()).update({int(number)} if number.isdecimal() else set())
    return found


def globs(names, every):
    """Returns patterns that match exactly these of all names."""
    inside = {name for name in every if name.startswith("layers.")}
    outside = sorted(set(names) - inside)
    if inside and inside <= set(names):
        return ["layers.*", *outside]
    of_all, patterns = suffixes(inside), []
    for rest, numbers in sorted(suffixes(set(names) & inside).items()):
        which = "*" if numbers == of_all[rest] else str(min(numbers)) if len(numbers) == 1 else f"{{{','.join(map(str, sorted(numbers)))}}}"
        patterns.append(f"layers.{which}.{rest}")
    return patterns + outside


def imported(form, folder, digest, names, kept, bits):
    """Returns what imported.json holds; `names` are the quantized layers, `bits` those of a weight on average."""
    libraries = {"python": platform.python_version(), "torch": torch.__version__, "safetensors": safetensors.__version__}
    of_format = {"label": "plain", "method": "none", "group_size": None, "symmetric": None}
    if form:
        of_format = {"label": form.label[:24], "method": form.method, "group_size": form.group_size, "symmetric": form.symmetric}
    return of_format | {"bits_per_weight": bits, "quantized": len(names), "kept": globs(kept, {*names, *kept}), "source": folder.resolve().name,
                        "source_hash": digest, "libraries": libraries}


def spelled_rule(match, rule):
    values = ", ".join(f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in rule.items())
    return f'  - {{match: "{match}", input: {{{values}}}}}'


def rules(inputs, every):
    """Returns lines of YAML for {layer: what rounds its inputs}; what the program cannot do is a comment."""
    lines, notes = [], []
    for one, _ in Counter(inputs.values()).most_common():
        names = [name for name, own in inputs.items() if own == one]
        if one is None:
            continue
        if one.rule:
            lines += [spelled_rule(match, one.rule) for match in globs(names, every)]
        if one.note:
            notes.append(f"# {one.note}")
    return notes + (["quant:", *lines] if lines else [])
