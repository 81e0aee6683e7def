"""Short names for figures: at most 24 characters, each its own; tables have the full labels."""

import re

MOST = 24
WORD = re.compile(r"[ ,·]+")


def cut(text):
    return text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"


def widest(texts, size):
    """Returns about how wide the widest of the texts is, in the unit of the text's size."""
    return max((0.56 * size * len(text) for text in texts), default=0)


def slug(text):
    """Returns what a file can be called after a label."""
    return re.sub(r"[^a-z0-9.]+", "_", text.lower().replace("×", "x")).strip("_.") or "all"


def compact(label):
    """Returns what one calls a configuration: of a list of rules the first, no settings, no rtn: "rtn W4 g64 symmetric=true" is "W4 g64",
    with activations "W4A4"; of a format by bands and of one in some layers where it is: "W3 g64 8-16", "W3 g64 in mlp"."""
    if " · " in label:
        parts = label.split(" · ")
        return " · ".join(compact(part) for part in parts if "=" not in part) or parts[-1]
    if mixed := re.fullmatch(r"(.+) \+ by_band edges=[\d +]+ of=(.+)", label):
        return f"{compact(mixed[1])} + " + "/".join(re.findall(r"W\d+|none", mixed[2]))
    if bands := re.fullmatch(r"by_band edges=([\d +]+) of=(.+)", label):
        edges, formats = (part.split(" + ") for part in bands.groups())
        return ", ".join(f"{compact(format)} {low}-{high}" for format, low, high in zip(formats, edges, edges[1:]) if format != "none")
    label = re.sub(r" in layers\.\*\.(self_attn\.)?", " in ", label.removesuffix(" in layers.*"))
    weight, _, activation = label.removesuffix(".*").split(" + ")[0].partition(", ")
    words = [word for word in weight.replace(" per row", "").split() if "=" not in word]
    if activation and (bits := re.search(r"\bA\d+", activation)):
        words = [word + bits[0] if re.fullmatch(r"W\d+", word) else word for word in words]
    if len(words) > 1 and words[0] in ("rtn", "fake_quant"):
        words = words[1:]
    return " ".join(words) or label


def joined_within(parts):
    """Returns several short names as one title of at most 24 characters: the longest part gives way."""
    parts = [part for part in parts if part]
    while len(text := " · ".join(parts)) > MOST:
        longest = max(range(len(parts)), key=lambda place: len(parts[place]))
        if len(parts[longest]) < 4:
            return cut(text)
        parts[longest] = parts[longest].rstrip("…")[:-1].rstrip() + "…"
    return text


def unlike(short):
    """Takes {label: name} and numbers the names that several labels share."""
    taken, found = set(), {}
    for label, name in short.items():
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name[: MOST - 2 - len(str(number))].rstrip()} #{number}"
        taken.add(own)
        found[label] = own
    return found


def telling(labels):
    """Returns {label: its parts between dots that are not the same in all labels}."""
    parts = {label: label.split(" · ") for label in labels}
    if len(set(map(len, parts.values()))) != 1:
        return {label: label for label in labels}
    told = [len(set(column)) > 1 for column in zip(*parts.values())]
    return {label: " · ".join(part for part, tells in zip(own, told) if tells) or label for label, own in parts.items()}


def shortened(labels):
    """Returns {label: short name}; where two would be called the same, each keeps the words that only it has, or gets a number."""
    labels = list(dict.fromkeys(labels))
    short = {label: compact(told) for label, told in telling(labels).items()}
    if max(map(len, short.values()), default=0) > MOST:
        short = {label: name.replace(" · ", " ") for label, name in short.items()}
    short = {label: cut(name) for label, name in short.items()}
    for name in sorted({name for name in short.values() if list(short.values()).count(name) > 1}):
        same = [label for label in labels if short[label] == name]
        shared = set.intersection(*(set(WORD.split(label)) for label in same))
        for label in same:
            own = " ".join(word for word in WORD.split(label) if word not in shared)
            short[label] = cut(f"{name} {own}".strip()) if len(name) < MOST - 4 else cut(own or name)
    return unlike(short)
