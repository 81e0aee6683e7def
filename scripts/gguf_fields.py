"""Values of a GGUF file's metadata, each checked when it is read."""
import math

import numpy as np

from json_lines import BadInput, shortened

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "an array of texts", np.ndarray: "an array of numbers"}
MOST = 2**31 - 1  # sizes and ids are at most those of the program


def get(source, key, kind, default=None):
    """Returns a value of the metadata, which must be there where it has no default."""
    value = source.fields.get(key, default)
    if value is None:
        raise BadInput(f"metadata key '{key}' is missing")
    if type(value) is not kind:
        raise BadInput(f"metadata key '{key}' is {shortened(value[:9].tolist() if isinstance(value, np.ndarray) else value)}, not {KINDS[kind]}")
    return value


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
