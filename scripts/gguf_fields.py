"""Values of a GGUF file's metadata, each checked when it is read."""
import math

import numpy as np

from json_lines import BadInput, shortened

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "an array of texts", np.ndarray: "an array of numbers"}
MOST = 2**31 - 1  # sizes and ids are at most those of the program
MODEL = "llama."
# Keys of the model that change no number: for the first the tokens count, and the others belong to norms and schemes that the file does not have.
HARMLESS = ("vocab_size", "tensor_data_layout", "attention.layer_norm_epsilon", "rope.scale_linear", "rope.scaling.finetuned",
            "rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow")
NEUTRAL = {"attention.causal": True, "use_parallel_residual": False, "expert_count": 0, "expert_used_count": 0, "rope.scaling.attn_factor": 1.0,
           "rope.scaling.factor": 1.0}  # the value that changes none


def get(source, key, kind, default=None):
    """Returns a value of the metadata, which must be there where it has no default."""
    source.asked.add(key)
    value = source.fields.get(key, default)
    if value is None:
        raise BadInput(f"metadata key '{key}' is missing")
    if type(value) is not kind:
        raise BadInput(f"metadata key '{key}' is {shown(value)}, not {KINDS[kind]}")
    return value


def shown(value):
    return shortened(value[:9].tolist() if isinstance(value, np.ndarray) else value)


def check_all_read(source):
    """Refuses a key of the model that nothing has asked for and that could change numbers."""
    for key in source.fields.keys() - source.asked:
        name, value = key.removeprefix(MODEL), source.fields[key]
        if name != key and name not in HARMLESS and (isinstance(value, np.ndarray) or value != NEUTRAL.get(name)):
            raise BadInput(f"metadata key '{key}' is {shown(value)}, which is not supported; import a file of a Llama model without it")


def size(source, key, default=None):
    value = get(source, key, int, default)
    if not 1 <= value <= MOST:
        raise BadInput(f"metadata key '{key}' is {value}, not a size")
    return value


def positive(source, key, default=None):
    """Returns a float32 of the file as its shortest decimal: 1e-05, not 9.999999747378752e-06."""
    value = float(str(np.float32(get(source, key, float, default))))
    if not 0 < value < math.inf:
        raise BadInput(f"metadata key '{key}' is {value}, not a number above 0")
    return value


def token_id(source, key, tokens):
    value = get(source, key, int)
    if not 0 <= value < len(tokens):
        raise BadInput(f"metadata key '{key}' is {value}, and the {len(tokens)} tokens are counted from 0")
    return value
