"""What a module of this folder gives of its format."""


KV_CACHE = "the checkpoint's key/value cache is quantized when it runs; give `kv:` for that"


class Format:
    """How the weights of a checkpoint are quantized.

    A subclass is made of quantization_config and the folder.  It has `method`, the quant_method; `parts`, how the names of a quantized layer's tensors end;
    weight(layer), which returns a Layer's weight in float32; and, once all weights are made, `label`, `bits`, `group_size` (0: one scale a row or tensor)
    and `symmetric`, each None where layers differ."""

    is_dense = False  # no layer has to be quantized
    beside = ()  # which of `parts` say nothing of the weight: what rounds inputs and outputs
    notes = ()  # lines on what else is quantized when the format runs

    def inputs(self, layer):
        """Returns what rounds the inputs of a layer when the format runs: Inputs, or None."""
        return None


def only(values):
    """Returns the one value that there is, or None for several."""
    found = set(values)
    return found.pop() if len(found) == 1 else None
