"""scripts/import_gguf.py on tokenizers, RoPE scaling and dtypes of every kind that it reads, against those who define them."""
import inspect
import json
import math
import sys
import unicodedata

import gguf
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2

from conftest import model_folder, shared_data
from support.program import REPO
from test_byte_bpe import ODD, RANDOM, STRINGS
from test_sentencepiece_json import MORE

sys.path.insert(0, str(REPO / "scripts"))
import gguf_tokenizer  # noqa: E402
import import_gguf  # noqa: E402
from json_lines import BadInput, printable  # noqa: E402

HIDDEN, INNER, HEADS, HEAD = 32, 64, 2, 16
CONTROL, NORMAL, UNUSED = (int(gguf.TokenType[name]) for name in ("CONTROL", "NORMAL", "UNUSED"))
LLAMA3 = inspect.signature(TikTokenConverter).parameters["pattern"].default
# transformers has it inside of a function of tokenization_utils_tokenizers.py, as mistral-common has it in tekken.json.
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = STRINGS | RANDOM | ODD | MORE


def write(path, tokens=("a", "b", "ab"), model="gpt2", pre="llama-bpe", types=None, merges=(("a", "b"),), scores=None, change=lambda writer: None, tensors=None, kind=None):
    """Writes a model of one layer; `change` adds metadata, `tensors` adds tensors; `kind` is a GGML type for its matrices.  Returns {GGUF name: values}."""
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
        if kind is None or len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            stored = gguf.quantize(values, kind)
            writer.add_tensor(name, stored, raw_dtype=kind)
            values = gguf.dequantize(stored, kind)
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


# ---- tokenizers


def trained(pattern, ignore_merges):
    """Byte-level BPE of 700 tokens that a pattern cuts, with tokens that merges do not make where they are to be ignored."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([text.replace("<", " ") for text in TEXTS.values()], trainer)
    state = json.loads(tokenizer.to_str())
    if ignore_merges:
        state["model"]["vocab"] |= {"Ġsquare": 700, "hello": 701}
        tokenizer = Tokenizer.from_str(json.dumps(state))
    return tokenizer, [tuple(merge) for merge in state["model"]["merges"]]


def as_gguf(tokenizer, merges, pre):
    """What write() takes of a tokenizer."""
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    return {"tokens": tokens, "pre": pre, "merges": merges, "types": [CONTROL if token in ("<unk>", "<s>", "</s>") else NORMAL for token in tokens]}


@pytest.mark.parametrize(("pre", "pattern", "ignore_merges"), [("llama-bpe", LLAMA3, True), ("qwen2", QWEN2, False), ("deepseek-r1-qwen", QWEN2, False), ("tekken", TEKKEN, True)])
def test_byte_level_tokenizers_are_those_of_the_models(tmp_path, assert_same_tokens, pre, pattern, ignore_merges):
    tokenizer, merges = trained(pattern, ignore_merges)
    out, _ = imported(tmp_path, **as_gguf(tokenizer, merges, pre))
    found = Tokenizer.from_file(str(out / "tokenizer.json"))
    for one in (tokenizer, found):
        one.encode_special_tokens = True
    for name, text in TEXTS.items():
        assert found.encode(text, add_special_tokens=False).ids == tokenizer.encode(text, add_special_tokens=False).ids, name
        assert found.decode(found.encode(text).ids, skip_special_tokens=False) == text
    if ignore_merges:
        assert found.encode(" square").ids == [700]
    assert_same_tokens(out, {name: text for name, text in TEXTS.items() if name != "newer scripts"})


def test_deepseeks_pieces(tmp_path, assert_same_tokens):
    """Its patterns are not in transformers: digits alone, words of letters with two cases, signs with a space before, ideographs together.  The range of
    signs from : to ~ has A to z, too, so that a word is cut again at its other letters."""
    cut = gguf_tokenizer.PRE_TOKENIZERS["deepseek-llm"][0]()

    def pieces(text):
        return [text[begin:end] for _, (begin, end) in cut.pre_tokenize_str(text)]

    assert pieces("In 2048 don't\r\n  Straße, 中文字 река") == ["In", " ", "2", "0", "4", "8", " don", "'", "t", "\r", "\n", " ", " Stra", "ß", "e", ",", " ", "中文字", " река"]
    assert pieces("a!b，。 ok  ") == ["a", "!", "b", "，", "。", " ok", "  "]
    listed = {code for one in gguf_tokenizer.CASED.split() for ends in [[int(end, 16) for end in one.split("-")]] for code in range(ends[0], ends[-1] + 1)}
    assert all(unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt") for code in listed)
    tokenizer, merges = trained(LLAMA3, False)
    out, _ = imported(tmp_path, **as_gguf(tokenizer, merges, "deepseek-llm"))
    assert_same_tokens(out, {name: text for name, text in TEXTS.items() if name != "newer scripts"})


@pytest.mark.parametrize("source", ["tiny-books", "stories260k", "llama2"])
def test_sentencepiece_tokenizers_make_the_same_tokens(tmp_path, source):
    file = shared_data("tokenizers/llama2-tokenizer.model") if source == "llama2" else model_folder(source) / "tokenizer.model"
    proto = sentencepiece_model_pb2.ModelProto.FromString(file.read_bytes())
    pieces = proto.pieces

    def change(writer):
        writer.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
        if source != "tiny-books":
            writer.add_unk_token_id(0)  # without it, token 0 is
        writer.add_key_value("tokenizer.ggml.remove_extra_whitespaces", proto.normalizer_spec.remove_extra_whitespaces, gguf.GGUFValueType.BOOL)

    out, _ = imported(tmp_path, tokens=[piece.piece for piece in pieces], model="llama", pre="default", types=[piece.type for piece in pieces],
                      scores=[piece.score for piece in pieces], change=change)
    expected, found = SentencePieceProcessor(model_file=str(file)), SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    assert (found.unk_id(), found.bos_id(), found.eos_id(), found.get_piece_size()) == (0, 1, 2, len(pieces))
    for name, text in TEXTS.items():
        assert found.encode(text) == expected.encode(text), name
        assert found.decode(found.encode(text)) == expected.decode(expected.encode(text)), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    plain = "The river runs past the mill; 2048 tokens, naïve."
    assert tokenizer.encode(plain, add_special_tokens=False) == expected.encode(plain)


def bytes_and_letters():
    return ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a"], [2, 3, 3, *[6] * 256, 1, 1]


@pytest.mark.parametrize(("lie", "said"), [
    ({"scores": [0.0] * 3}, "is not a number for each of 261 tokens"), ({"scores": [math.nan] * 261}, "is not a number for each"), ({"scores": None}, "'tokenizer.ggml.scores' is missing"),
    ({"tokens": bytes_and_letters()[0][:-1] + [""]}, "token 260 is empty"), ({"tokens": bytes_and_letters()[0][:-1] + ["▁"]}, "token '▁' is there twice"),
    ({"types": [2, 3, 3, *[6] * 255, 1, 1, 1]}, "255 tokens are of type BYTE"), ({"types": [2, 3, 3, *[6] * 257, 1]}, "257 tokens are of type BYTE"),
    ({"change": lambda writer: writer.add_unk_token_id(999)}, "is 999, and the 261 tokens"), ({"change": lambda writer: writer.add_string("tokenizer.ggml.add_space_prefix", "no")}, "not true or false"),
    ({"change": lambda writer: writer.add_precompiled_charsmap(b"abc")}, "precompiled_charsmap' is not supported"), ({"model": "t5"}, "tokenizer 't5' with pre-tokenizer 'default' is not supported"),
    ({"model": "gpt2", "pre": "gpt-4o"}, "smollm, llama-bpe, qwen2"),
])
def test_a_tokenizer_that_lies_is_one_line(tmp_path, lie, said):
    tokens, types = bytes_and_letters()
    with pytest.raises(BadInput) as caught:
        imported(tmp_path, **({"tokens": tokens, "types": types, "model": "llama", "pre": "default", "scores": [0.0] * len(tokens)} | lie))
    assert said in str(caught.value) and printable(str(caught.value)).isprintable()
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_an_unknown_token_that_old_files_call_control_is_found(tmp_path):
    tokens, types = bytes_and_letters()
    out, _ = imported(tmp_path, tokens=tokens, types=[3, *types[1:]], model="llama", pre="default", scores=[0.0] * len(tokens))
    found = SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    assert found.unk_id() == 0 and found.is_control(1) and found.encode("a b") == [259, 260, 259, 3 + ord("b")]


# ---- RoPE

PAIRS = HEAD // 2
BASE = 500000.0 ** (-np.arange(PAIRS) / PAIRS)


def inverse_frequencies(config, length=None):
    """What transformers makes of config.json: frequencies and the factor of cos and sin."""
    config = transformers.LlamaConfig(**config)
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return BASE, 1.0
    found, attention = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    return found.double().numpy(), attention


def llama3_factors(factor=8.0, low=1.0, high=4.0, trained=8192):
    """As convert_hf_to_gguf.py computes them: from wave lengths."""
    found = []
    for frequency in BASE:
        wave = 2 * math.pi / frequency
        smooth = (trained / wave - low) / (high - low)
        found.append(1 if wave < trained / high else factor if wave > trained / low else 1 / ((1 - smooth) / factor + smooth))
    return np.asarray(found, np.float32)


def scaling(kind, factor=None, trained=None, **more):
    def change(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        if factor:
            writer.add_rope_scaling_factor(factor)
        if trained:
            writer.add_rope_scaling_orig_ctx_len(trained)
        for key, value in more.items():
            writer.add_float32(f"llama.rope.scaling.{key}", value)

    return change


def test_llama_3s_divisors_become_its_scheme(tmp_path):
    for number, factor in enumerate((8.0, 32.0)):
        (tmp_path / str(number)).mkdir()
        factors = llama3_factors(factor)
        out, _ = imported(tmp_path / str(number), tensors={"rope_freqs.weight": factors})
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        assert config["rope_scaling"] == {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
        found, attention = inverse_frequencies(config)
        np.testing.assert_allclose(found, BASE / factors, rtol=1e-6)
        assert attention == 1 and "rope_freqs" not in " ".join(load_file(out / "model.safetensors"))


def test_any_other_divisors_stay_what_they_are(tmp_path):
    factors = np.linspace(1, 3, PAIRS).astype(np.float32) + np.float32(0.1)
    out, _ = imported(tmp_path, tensors={"rope_freqs.weight": factors})
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for length in (16, 100000):
        found, attention = inverse_frequencies(config, length)
        np.testing.assert_allclose(found, BASE / factors, rtol=1e-6)
        assert attention == 1


@pytest.mark.parametrize(("change", "tensors", "expected", "frequencies", "attention"), [
    (scaling("none"), {}, None, BASE, 1), (scaling("none", 4.0), {}, None, BASE, 1), (scaling("linear", 4.0), {}, {"rope_type": "linear", "factor": 4.0}, BASE / 4, 1),
    (lambda writer: writer.add_float32("llama.rope.scale_linear", 2.5), {}, {"rope_type": "linear", "factor": 2.5}, BASE / 2.5, 1),
    (scaling("yarn", 4.0, 1024), {}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, None, 0.1 * math.log(4) + 1),
    (scaling("yarn", 4.0, 1024, attn_factor=0.5, yarn_beta_fast=16.0), {}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 16.0,
                                                                             "attention_factor": 0.5 * (0.1 * math.log(4) + 1)}, None, 0.5 * (0.1 * math.log(4) + 1)),
    (scaling("longrope", None, 1024, attn_factor=1.25), {"rope_factors_long.weight": [2.5] * PAIRS, "rope_factors_short.weight": [1.5] * PAIRS},
     {"rope_type": "longrope", "short_factor": [1.5] * PAIRS, "long_factor": [2.5] * PAIRS, "attention_factor": 1.25, "original_max_position_embeddings": 1024}, BASE / 2.5, 1.25),
])
def test_schemes_of_the_metadata_are_those_of_config_json(run, tmp_path, change, tensors, expected, frequencies, attention):
    out, _ = imported(tmp_path, change=change, tensors=tensors)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config.get("rope_scaling") == expected
    found, factor = inverse_frequencies(config, 4096)
    assert factor == pytest.approx(attention, rel=1e-6)
    if frequencies is not None:
        np.testing.assert_allclose(found, frequencies, rtol=1e-6)


@pytest.mark.parametrize(("change", "tensors", "said"), [
    (scaling("yarn"), {}, "metadata key 'llama.rope.scaling.factor' is missing"), (scaling("linear", -2.0), {}, "is -2.0, not a number above 0"),
    (scaling("linear", 2.0, mscale=1.0), {}, "RoPE scaling 'llama.rope.scaling.mscale' is not supported"),
    (lambda writer: writer.add_string("llama.rope.scaling.type", "su"), {}, "is 'su', not none, linear, yarn or longrope"),
    (scaling("longrope"), {}, "tensor 'rope_factors_short.weight' is missing"), (scaling("yarn", 2.0), {"rope_freqs.weight": [1] * PAIRS}, "are in one file, which no model has"),
    (scaling("none"), {"rope_freqs.weight": [1] * 3}, "has shape (3,), expected (8,)"), (scaling("none"), {"rope_freqs.weight": [0] * PAIRS}, "holds what is no number above 0"),
    (scaling("none"), {"rope_freqs.weight": [math.nan] * PAIRS}, "holds what is no number above 0"), (scaling("none"), {"rope_other.weight": [1]}, "is not part of a Llama model"),
])
def test_scaling_that_lies_is_one_line(tmp_path, change, tensors, said):
    with pytest.raises(BadInput) as caught:
        imported(tmp_path, change=change, tensors=tensors)
    assert said in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


# ---- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_rounded_once(run_script, tmp_path, dtype):
    written = write(tmp_path / "model.gguf", kind=gguf.GGMLQuantizationType.Q4_1)
    process = run_script("import_gguf.py", tmp_path / "model.gguf", tmp_path / "out", "--dtype", dtype)
    assert process.returncode == 0, process.stderr
    found, kind = load_file(tmp_path / "out/model.safetensors"), getattr(torch, dtype)
    for name, target in (("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"), ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight")):
        assert torch.equal(found[target], torch.from_numpy(written[name]).to(kind))
    assert json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))["torch_dtype"] == dtype


def test_a_weight_that_float16_does_not_hold_is_named(tmp_path):
    write(tmp_path / "model.gguf")
    content = bytearray((tmp_path / "model.gguf").read_bytes())
    content[-4:] = np.float32(1e6).tobytes()
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(BadInput, match="holds NaN or infinity, or what is infinity in float16"):
        import_gguf.import_gguf(tmp_path / "model.gguf", tmp_path / "out", "float16")
    import_gguf.import_gguf(tmp_path / "model.gguf", tmp_path / "out", "float32")
