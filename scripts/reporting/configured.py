"""What a row's configuration says where no axis does: a quantizer that a whole sweep shares, the length of a block that does not sweep lengths."""

import json

FIXED = ("rope", "quant", "kv", "rotation")


def part_label(block, letter):
    """Returns "rtn W4 g64" of a weight, an input, a key or a value, as `show` calls it, without what is usual."""
    words = [str(block["type"])]
    if "bits" in block:
        words.append(f"{letter}{block['bits']}")
    if "group" in block:
        words.append({0: "per row", -1: "per tensor"}.get(block["group"], f"g{block['group']}"))
    words += [f"{key}={str(block[key]).lower()}" for key in ("block", "symmetric") if block.get(key)]
    return " ".join(words)


def part_labels(block, **letters):
    """Returns {part: its label} of the parts of a block that anything quantizes."""
    return {part: part_label(block[part], letter) for part, letter in letters.items() if block.get(part, {}).get("type", "none") != "none"}


def label_of(value):
    """Returns what `show` calls a block rope, quant, kv or rotation, from the resolved configuration; "none" of nothing."""
    if isinstance(value, list):  # rules of `quant`
        return " + ".join(filter(None, (", ".join(part_labels(rule, weight="W", input="A").values()) for rule in value))) or "none"
    if not isinstance(value, dict) or "type" not in value:
        return str(value or "none")
    if value["type"] == "none" or not {"key", "value"} & value.keys():
        factor = value.get("factor")
        return value["type"] + (f" ×{factor:g}" if isinstance(factor, (int, float)) else "")
    return " ".join([value["type"], *(f"{name}={label}" for name, label in part_labels(value, key="K", value="V").items())])


def block_of(row, name):
    """Returns a row's block; the scheme is the one that was evaluated, also where the configuration leaves it to the model."""
    return (row["environment"].get("rope") if name == "rope" else None) or (row.get("config") or {}).get(name)


def name_blocks(rows):
    """Gives each row `configured`, the label of each block that none of its axes sweeps: that of a row with the same block, or else the block's own."""
    known = {(name, json.dumps(block_of(row, name))): row["labels"][name] for row in rows for name in FIXED if name in row["labels"]}
    for row in rows:
        blocks = {name: block_of(row, name) for name in FIXED if name not in row["labels"]}
        row["configured"] = {name: known.get((name, json.dumps(block))) or label_of(block) for name, block in blocks.items()}
    return rows


def number_at(config, path):
    """Returns the number at a dotted path of the configuration; None where there is none."""
    for key in path.split("."):
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, (int, float)) and not isinstance(config, bool) else None
