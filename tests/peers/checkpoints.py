"""Small random checkpoints of all families, and what people's files do to them."""
import json

import torch
import transformers
from safetensors.torch import load_file, save_file

VOCAB, TOKENIZER = 320, 259  # rows of the embeddings, and entries of the tokenizer
LAYERS, HIDDEN, HEAD = 3, 128, 32
BASE = {"vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": 352, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "initializer_range": 0.08, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": None}


def save_tokenizer(folder):
    """Byte-level BPE without merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    assert len(vocabulary) == TOKENIZER
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(vocabulary[:3])
    tokenizer.save(str(folder / "tokenizer.json"))


def save_llama(folder, save_options=None, body_alone=False, **config):
    return save_model(folder, transformers.LlamaConfig(**(BASE | config)), save_options, body_alone)


def save_model(folder, config, save_options=None, body_alone=False, seed=0):
    """A checkpoint as transformers writes it, with biases and norms that are not ones."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(0.3 * torch.randn_like(parameter) + (0 if "bias" in name else 1))
    (model.model if body_alone else model).save_pretrained(folder, **(save_options or {}))
    save_tokenizer(folder)
    return folder


def set_fields(**fields):
    """An edit of config.json; ... removes."""

    def edit(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | fields
        kept = {name: value for name, value in config.items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(kept), encoding="utf-8")

    return edit


def as_version_4(theta=10000.0, **fields):
    """An edit of config.json: the older spellings."""
    return set_fields(rope_parameters=..., dtype=..., rope_theta=theta, torch_dtype="float32", transformers_version="4.38.0", **fields)


def change_tensors(change, name="model.safetensors"):
    """An edit of a file: `change` of the dictionary of its tensors."""

    def edit(folder):
        tensors = change(load_file(folder / name))
        save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / name, metadata={"format": "pt"})

    return edit


def add_tensors(**shapes):
    """An edit: random tensors for every layer, by the rest of their names, where a double underscore stands for a dot."""

    def change(tensors):
        for layer in range(LAYERS):
            for rest, shape in shapes.items():
                tensors[f"model.layers.{layer}.{rest.replace('__', '.')}"] = torch.randn(shape)
        return tensors

    return change_tensors(change)


def in_dtype(dtype, norms=None):
    return change_tensors(lambda tensors: {name: x.to(norms if norms is not None and x.dim() == 1 else dtype) for name, x in tensors.items()})


def edit_index(change):
    """An edit of the index of a sharded checkpoint: `change` of its weight_map, in place."""

    def edit(folder):
        path = folder / "model.safetensors.index.json"
        index = json.loads(path.read_text(encoding="utf-8"))
        change(index["weight_map"])
        path.write_text(json.dumps(index), encoding="utf-8")

    return edit


def in_order(*edits):
    def edit(folder):
        for one in edits:
            one(folder)

    return edit
