"""imported.json of a GGUF file, with the keys that scripts/import_checkpoint gives them."""
from collections import Counter

import gguf

from importing.record import bits_per_weight, imported, sites

Type = gguf.GGMLQuantizationType
PLAIN = (Type.F32, Type.F16, Type.BF16, Type.F64)
MOST_LABEL = 24  # characters, for which the tables have room


def weights(tensor):
    return tensor.rows * tensor.shape[-1]


def label(tensors):
    """Returns "GGUF Q4_0" or "GGUF Q4_K, Q6_K", the kind of most weights first; where that is too long, "GGUF Q4_K + 3 more"."""
    totals = Counter()
    for tensor in tensors:
        totals[tensor.kind.name] += weights(tensor)
    kinds = [kind for kind, _ in totals.most_common()]
    all_kinds = f"GGUF {', '.join(kinds)}"
    return all_kinds if len(all_kinds) <= MOST_LABEL else f"GGUF {kinds[0]} + {len(kinds) - 1} more"


def record(source, path, wanted):
    """Returns what imported.json holds for an open file and {GGUF tensor name: (Hugging Face name, shape)}."""
    layers = {name.removesuffix(".weight"): source.tensors[own] for own, (name, shape) in wanted.items() if len(shape) == 2 and "embed" not in name}
    quantized = {name: tensor for name, tensor in layers.items() if tensor.kind not in PLAIN}
    in_decoder = [tensor for name, tensor in quantized.items() if name != "lm_head"]
    bits = bits_per_weight({name: (8 * tensor.size, weights(tensor)) for name, tensor in layers.items()})
    of_weights = {"label": label(in_decoder or quantized.values()), "bits_per_weight": bits} if quantized else {}
    named, kept = ([site for name in names for site in sites(name)] for names in (quantized, layers.keys() - quantized.keys()))
    return imported("gguf", named, kept, of_weights, path, source.hash(), ("numpy", "gguf"))
