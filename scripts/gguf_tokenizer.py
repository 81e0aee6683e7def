"""The tokenizer of a GGUF file as Hugging Face has it: tokenizer.json for byte-level BPE, SentencePiece's tokenizer.model for Llama-2's kind.

A file names the pattern that cuts a text into pieces before BPE; the patterns are those of the models' own tokenizer.json.  Qwen2's normalizes the
text before (NFC), as it is written here, though llama.cpp does not: what the model was trained on decides."""
import json
import math
import struct
from functools import partial

import gguf
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from gguf_fields import get, token_id
from gguf_file import by_name
from json_lines import BadInput

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
WORDS, SPACES = r"[^\r\n\p{L}\p{N}]?\p{L}+|", r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = CONTRACTIONS + WORDS + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
QWEN_2 = CONTRACTIONS + WORDS + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|" + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
# The letters with two cases that DeepSeek-LLM's pattern lists: those of an older Unicode, in hexadecimal.
CASED = """41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556
10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d
1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d
212f-2134 2139 213c-213f 2145-2149 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf
fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943"""
# 3a-7e has the letters of ASCII, too; the pattern cuts words once more.
SIGNS = "21-2f 3a-7e ff01-ff0f ff1a-ff5e 2018-201f 3000-3002"
IDEOGRAPHS = "4e00-9fa5 800-4e00 ac00-d7ff"


def characters(ranges):
    """Returns the inside of a regular expression's brackets for ranges in hexadecimal."""
    return "".join("-".join(chr(int(end, 16)) for end in one.split("-")) for one in ranges.split())


def split(*patterns):
    """Cuts a text at what matches, one pattern after the other, and writes bytes as GPT-2's characters."""
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def smollm():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


DEEPSEEK = (r"[\r\n]", rf"\s?[{characters(CASED)}]+", rf"\s?[{characters(SIGNS)}]+", r"\s+$", rf"[{characters(IDEOGRAPHS)}]+", r"\p{N}")
# tokenizer.ggml.pre -> what normalizes, what cuts, and whether a piece that is a token stays one, though merges would make others of it.
PRE_TOKENIZERS = {"smollm": (None, smollm, False), "llama-bpe": (None, partial(split, LLAMA_3), True), "qwen2": (normalizers.NFC, partial(split, QWEN_2), False),
                  "deepseek-r1-qwen": (normalizers.NFC, partial(split, QWEN_2), False), "tekken": (None, partial(split, TEKKEN), True),
                  "deepseek-llm": (None, partial(split, *DEEPSEEK), False)}
UNKNOWN, CONTROL, USER_DEFINED, BYTE = (int(gguf.TokenType[name]) for name in ("UNKNOWN", "CONTROL", "USER_DEFINED", "BYTE"))


def read_tokens(source):
    """Returns the tokens and their types."""
    tokens, types = get(source, "tokenizer.ggml.tokens", list), get(source, "tokenizer.ggml.token_type", np.ndarray).tolist()
    if len(tokens) != len(types):
        raise BadInput(f"{len(tokens)} tokens but {len(types)} token types")
    if odd := set(types) - set(gguf.TokenType):
        raise BadInput(f"token type {min(odd)} is none that GGUF has")
    return tokens, types


def byte_level(source, tokens, types):
    """Returns tokenizer.json of byte-level BPE."""
    normalizer, make, ignore_merges = PRE_TOKENIZERS[get(source, "tokenizer.ggml.pre", str, "default")]
    ids = by_name(((token, index) for index, token in enumerate(tokens)), "token")
    merges = [tuple(merge.split(" ")) for merge in get(source, "tokenizer.ggml.merges", list)]
    for merge in merges:
        if len(merge) != 2 or not {*merge, "".join(merge)} <= ids.keys():
            raise BadInput(f"merge '{' '.join(merge)}' is not of two tokens that are a third one")
    tokenizer = Tokenizer(models.BPE(ids, merges, ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer()
    tokenizer.pre_tokenizer = make()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, k in zip(tokens, types) if k == CONTROL])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == USER_DEFINED])
    return tokenizer.to_str(pretty=True)


def message(*fields):
    """Returns a message of protocol buffers: (number, value), where a value is bytes, a float, a whole number or a text."""
    return b"".join(field(number, value) for number, value in fields)


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes(content) + bytes([value])


def sentencepiece(source, tokens, types):
    """Returns tokenizer.model: pieces with their scores and types, whose numbers GGUF took from SentencePiece, and how a text is prepared.  The numbers of
    the fields are those of sentencepiece_model.proto."""
    scores = get(source, "tokenizer.ggml.scores", np.ndarray).tolist()
    if len(scores) != len(tokens) or not all(isinstance(score, float) and math.isfinite(score) for score in scores):
        raise BadInput(f"metadata key 'tokenizer.ggml.scores' is not a number for each of {len(tokens)} tokens")
    if source.fields.get("tokenizer.ggml.precompiled_charsmap") is not None:
        raise BadInput("metadata key 'tokenizer.ggml.precompiled_charsmap' is not supported: Llama's tokenizers do not normalize")
    by_name(((token, index) for index, token in enumerate(tokens)), "token")
    if "" in tokens:
        raise BadInput(f"token {tokens.index('')} is empty")
    unknown = token_id(source, "tokenizer.ggml.unknown_token_id", tokens) if "tokenizer.ggml.unknown_token_id" in source.fields else 0
    types = [UNKNOWN if index == unknown else CONTROL if kind == UNKNOWN else kind for index, kind in enumerate(types)]  # it must be one
    byte_tokens = [token for token, kind in zip(tokens, types) if kind == BYTE]
    if byte_tokens and sorted(byte_tokens) != [f"<0x{byte:02X}>" for byte in range(256)]:
        raise BadInput(f"{len(byte_tokens)} tokens are of type BYTE, not <0x00> to <0xFF>")
    bos, eos = (token_id(source, f"tokenizer.ggml.{name}_token_id", tokens) for name in ("bos", "eos"))
    pieces = [(1, message((1, token), (2, score), (3, kind))) for token, score, kind in zip(tokens, scores, types)]
    bpe = 2
    trainer = message((3, bpe), (4, len(tokens)), (35, int(bool(byte_tokens))), (40, unknown), (41, bos), (42, eos), (43, -1), (45, tokens[unknown]),
                      (46, tokens[bos]), (47, tokens[eos]))
    normalizer = message((1, "identity"), (3, int(get(source, "tokenizer.ggml.add_space_prefix", bool, True))),
                         (4, int(get(source, "tokenizer.ggml.remove_extra_whitespaces", bool, False))), (5, 1))
    return message(*pieces, (2, trainer), (3, normalizer))


def read_tokenizer(source):
    """Returns {name of a file: its content}."""
    kind, pre = get(source, "tokenizer.ggml.model", str), get(source, "tokenizer.ggml.pre", str, "default")
    if kind != "llama" and (kind != "gpt2" or pre not in PRE_TOKENIZERS):
        raise BadInput(f"tokenizer '{kind}' with pre-tokenizer '{pre}' is not supported; llama (SentencePiece) is, and gpt2 (byte-level BPE) with "
                       f"{', '.join(PRE_TOKENIZERS)}")
    tokens, types = read_tokens(source)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast" if kind == "gpt2" else "LlamaTokenizer", "clean_up_tokenization_spaces": False,
                "add_bos_token": False}
    for name, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id")):
        if f"tokenizer.ggml.{key}" in source.fields:
            settings[name] = tokens[token_id(source, f"tokenizer.ggml.{key}", tokens)]
    files = {"tokenizer_config.json": (json.dumps(settings, indent=1) + "\n").encode()}
    if kind == "llama":
        return files | {"tokenizer.model": sentencepiece(source, tokens, types)}
    return files | {"tokenizer.json": byte_level(source, tokens, types).encode()}
