"""What an import says of itself: imported.json, and the rules of `quant` that round inputs as the format does.  Needs no torch, which
scripts/import_gguf.py does without."""
import json
import platform
from collections import Counter
from importlib.metadata import version

from json_lines import printable

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}  # Phi-3's, which the program takes apart


def sites(name):
    """Returns the names that rules have for a layer of a checkpoint: layers.0.mlp.up_proj, lm_head."""
    place, dot, last = name.removeprefix("model.").rpartition(".")
    return [f"{place}{dot}{own}" for own in FUSED.get(last, (last,))]


def bits_per_weight(stored):
    """Returns the mean over the linear layers of the decoder, which is what a row counts, from {layer: (bits, weights)}."""
    counted = [own for name, own in stored.items() if sites(name)[0].startswith("layers.")] or list(stored.values())
    return sum(bits for bits, _ in counted) / sum(weights for _, weights in counted)


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


def imported(method, quantized, kept, of_weights, path, digest, libraries):
    """Returns what imported.json holds.  `of_weights`, with a label and the bits of a weight, is left out where no layer is quantized: the program then
    takes the folder for the plain one that it is."""
    return {"method": method} | (of_weights if quantized else {}) | {
        "quantized": len(quantized), "kept": globs(kept, {*quantized, *kept}), "source": path.resolve().name, "source_hash": digest,
        "libraries": {"python": platform.python_version()} | {name: version(name) for name in libraries}}


def spelled_rule(match, rule):
    values = ", ".join(f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in rule.items())
    return f"  - {{match: {json.dumps(match)}, input: {{{values}}}}}"  # whose texts YAML reads, too


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
            notes.append(f"# {printable(one.note)}")
    return notes + (["quant:", *lines] if lines else [])
