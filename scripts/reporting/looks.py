"""How schemes and quantizers look: a scheme has its colour, and a quantizer its marker, in every report."""

import re

# Okabe & Ito's colours; full contrast is for no interpolation.
COLORS = {
    "none": "#6E6E6E",
    "model": "#5B6BB0",
    "linear": "#D55E00",
    "ntk": "#0086D1",
    "yarn": "#009E73",
    "dynamic_ntk": "#56B4E9",
    "ntk_by_parts": "#E69F00",
    "dynamic_yarn": "#CC79A7",
    "longrope": "#9F6BD6",
    "llama3": "#A0743C",
}
OTHER = "#B0A000"  # a scheme of tomorrow
DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]]
# Vega's paths within -1..1.
SHAPES = {
    "circle": "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "up": "M0,-1.1L1.05,.8H-1.05Z",
    "diamond": "M0,-1.2L1,0L0,1.2L-1,0Z",
    "down": "M0,1.1L1.05,-.8H-1.05Z",
    "cross": "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z",
    "left": "M1.1,0L-.8,1.05V-1.05Z",
    "right": "M-1.1,0L.8,1.05V-1.05Z",
    "hexagon": "M-.5,-1H.5L1,0L.5,1H-.5L-1,0Z",
    "pentagon": "M0,-1.1L1.1,-.2L.65,1H-.65L-1.1,-.2Z",
    "flat": "M-1,-.5H1V.5H-1Z",
    "tall": "M-.5,-1H.5V1H-.5Z",
}
# The first pattern in a quantizer's configuration, or else its name, says the marker.
FAMILIES = [
    (r"none", "circle"),
    (r".*(by_band|rotat|hadamard| in layers\.\*\.|[wa]\d+.*\bk\d)", "tall"),  # in some places, or of several kinds
    (r".*\bawq\b", "left"),
    (r".*\bgptq\b", "right"),
    (r".*\bhqq\b", "hexagon"),
    (r".*\b(nf|fp|mx|e\dm)\w*\d", "pentagon"),
    (r"(.*\b|.*\bw\d+)a\d+\b", "diamond"),
    (r".*\b[kv]\d+\b", "down"),
    (r".*\bw4\b", "square"),
    (r".*\bw3\b", "up"),
    (r".*\bw2\b", "flat"),
    (r".*\bw8\b", "cross"),
]


def shapes_of(families):
    """Takes {quantizer: what says its marker}, in reading order.  Where two have one marker, the second gets one that no quantizer here calls its own."""
    wanted = {name: next((shape for pattern, shape in FAMILIES if re.fullmatch(f"{pattern}.*" if pattern != "none" else pattern, family.lower())), "tall")
              for name, family in families.items()}
    free = [shape for shape in SHAPES if shape not in wanted.values()]
    taken, found = set(), {}
    for place, (name, shape) in enumerate(wanted.items()):
        if shape in taken:
            shape = free.pop(0) if free else list(SHAPES)[place % len(SHAPES)]
        taken.add(shape)
        found[name] = SHAPES[shape]
    return found


def styles_of(types):
    """Takes {scheme: its type} and returns {scheme: (colour of its type, dashes by which schemes of one type differ)}."""
    kinds = list(types.values())
    return {scheme: (COLORS.get(kind, OTHER), DASHES[kinds[:place].count(kind) % len(DASHES)]) for place, (scheme, kind) in enumerate(types.items())}
