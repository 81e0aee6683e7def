"""Short names for figures: at most 24 characters, each its own; tables have the full labels."""

import re

MOST = 24
WORD = re.compile(r"[ ,·]+")
KEY = re.compile(r"\b[a-z_]+=(?!\d{1,2}\b|false\b)")  # of a value that tells by itself: "folds=4" needs its key, "length=1024" does not


def cut(text):
    return text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"


def widest(texts, size):
    """Returns about how wide the widest of the texts is, in the unit of the text's size."""
    return max((0.56 * size * len(text) for text in texts), default=0)


def slug(text):
    """Returns what a file can be called after a label; others can be called the same (build.apart)."""
    return re.sub(r"[^a-z0-9.]+", "_", text.lower().replace("×", "x")[:100]).strip("_.") or "all"


def in_order(label):
    """Returns a label by which to sort: words by the alphabet, numbers by size."""
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in re.split(r"(\d+)", label)]


def compact(label):
    """Returns what one calls a configuration: of a list of rules the first, no settings, no rtn: "rtn W4 g64 symmetric=true" is "W4 g64",
    with activations "W4A4"; of a format by bands and of one in some layers where it is: "W3 g64 8-16", "W3 g64 in mlp"."""
    if " · " in label:
        return " · ".join(part if re.fullmatch(r"\S+=\S+", part) else compact(part) for part in label.split(" · "))
    if mixed := re.fullmatch(r"(.+) \+ by_band edges=[\d +]+ of=(.+)", label):
        return f"{compact(mixed[1])} + " + "/".join(re.findall(r"W\d+|none", mixed[2]))
    if bands := re.fullmatch(r"by_band edges=([\d +]+) of=(.+)", label):
        edges, formats = (part.split(" + ") for part in bands.groups())
        return ", ".join(f"{compact(format)} {low}-{high}" for format, low, high in zip(formats, edges, edges[1:]) if format != "none")
    label = re.sub(r" in layers\.\*\.(self_attn\.)?", " in ", label.removesuffix(" in layers.*"))
    weight, _, activation = re.sub(r" \([^)]*\)", "", label).removesuffix(".*").split(" + ")[0].partition(", ")
    words = [word for word in weight.replace(" per row", "").split() if "=" not in word]
    if activation and (bits := re.search(r"\bA\d+", activation)):
        words = [word + bits[0] if re.fullmatch(r"W\d+", word) else word for word in words]
    if len(words) > 1 and words[0] in ("rtn", "fake_quant"):
        words = words[1:]
    return " ".join(words) or label


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


def without_shared(names):
    """Takes lists of parts, each a list of words, and leaves out words that stand in the same part of all of them, the longest first, until all
    names fit.  Where the numbers of parts differ, a word's part does not matter."""
    same = len({len(parts) for parts in names}) == 1
    columns = list(zip(*names)) if same else [[[word for part in parts for word in part] for parts in names]] if names else []
    shared = [(place, word) for place, column in enumerate(columns) for word in dict.fromkeys(column[0]) if all(word in words for words in column)]
    for place, word in sorted(shared, key=lambda one: -len(one[1])):
        if all(len(text(parts)) <= MOST for parts in names):
            break
        for parts in names:
            part = next(part for part in (parts[place : place + 1] if same else parts) if word in part)
            if sum(map(len, parts)) > 1:  # a name of one word keeps it
                part.remove(word)
    return names


def text(parts, between=" · "):
    return between.join(" ".join(part) for part in parts if part)


def within(full):
    """Takes {key: name of any length} and returns {key: name of at most 24 characters}, each its own.  What goes first is what all names share, then what
    all long ones share, then dots and keys of values ("length=1024" is "1024"), then the words that most names have; numbers tell apart what is still
    the same."""
    names = without_shared([[part.split() for part in name.split(" · ")] for name in full.values()])
    long = [place for place, parts in enumerate(names) if len(text(parts)) > MOST]
    shorter = dict(zip(long, without_shared([[list(part) for part in names[place]] for place in long] if len(long) > 1 else [])))
    tried = [shorter.get(place, parts) for place, parts in enumerate(names)]
    names = tried if len(set(map(text, tried))) == len(set(map(text, names))) else names
    short = list(map(text, names))
    if len(full) > 1 and max(map(len, short)) > MOST:
        short = fewer_words([text(parts, " ") for parts in names])
    return unlike(dict(zip(full, map(cut, short))))


def fewer_words(names):
    """Leaves out the keys of values, of all names where that leaves each its own, else of long ones; then of long ones the words that most names have, as
    long as each remains its own, the first two of them last."""
    plain = [KEY.sub("", name) for name in names]
    names = plain if len(set(plain)) == len(set(names)) else [short if len(name) > MOST else name for name, short in zip(names, plain)]

    def often(word):
        return -sum(word in other.split() for other in names)

    for place, name in enumerate(names):
        words = name.split()
        for word in sorted(words[2:], key=often) + sorted(words[:2], key=often):  # first of all, what it is
            rest = " ".join(own for own in words if own != word)
            if len(" ".join(words)) > MOST and rest and rest not in names:
                words.remove(word)
        names[place] = " ".join(words)
    return names


def called(labels):
    """Returns {label: what one calls it}, of any length; of those that are called the same each keeps the words that only it has."""
    labels = list(dict.fromkeys(labels))
    names = {label: compact(label) for label in labels}
    for name in sorted({name for name in names.values() if list(names.values()).count(name) > 1}):
        same = [label for label in labels if names[label] == name]
        shared = set.intersection(*(set(WORD.split(label)) for label in same))
        for label in same:
            own = [word.removesuffix("=true") for word in WORD.split(label) if word not in shared]
            names[label] = " ".join(dict.fromkeys([*name.split(), *own]))
    return names


def shortened(labels):
    """Returns {label: its short name}."""
    return within(called(labels))
