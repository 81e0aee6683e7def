"""Small GGUF files of Llama models, for the tests of scripts/import_gguf.py."""
import sys

import gguf
import numpy as np

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
import import_gguf  # noqa: E402

HIDDEN, INNER, HEADS, HEAD = 32, 64, 2, 16
CONTROL, NORMAL = int(gguf.TokenType.CONTROL), int(gguf.TokenType.NORMAL)


def write(path, tokens=("a", "b", "ab"), model="gpt2", pre="llama-bpe", types=None, merges=(("a", "b"),), scores=None, change=lambda writer: None,
          tensors=None, kind=None):
    """Writes a model of one layer; `change` adds metadata, `tensors` adds tensors; `kind` is a GGML type for its matrices, or {GGUF name: type}.  Returns {GGUF name: values}."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(tokens))
    writer.add_token_types(types or [NORMAL] * len(tokens))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if model == "gpt2":
        writer.add_token_merges([" ".join(merge) for merge in merges])
    if scores is not None:
        writer.add_token_scores(scores)
    change(writer)
    shapes = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, HIDDEN), "attn_v": (HIDDEN, HIDDEN), "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (INNER, HIDDEN),
              "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER), "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,)}
    shapes = {"token_embd.weight": (len(tokens), HIDDEN), "output_norm.weight": (HIDDEN,), **{f"blk.0.{name}.weight": shape for name, shape in shapes.items()}}
    random, written = np.random.default_rng(0), {}
    for name, shape in shapes.items():
        values = random.standard_normal(shape).astype(np.float32)
        own = kind.get(name) if isinstance(kind, dict) else kind
        if own is None or len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            stored = gguf.quantize(values, own)
            writer.add_tensor(name, stored, raw_dtype=own)
            values = gguf.dequantize(stored, own)
        written[name] = values
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, np.asarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def imported(tmp_path, dtype="bfloat16", **options):
    """The folder of an import, and what was written."""
    written = write(tmp_path / "model.gguf", **options)
    import_gguf.import_gguf(tmp_path / "model.gguf", tmp_path / "out", dtype)
    return tmp_path / "out", written
