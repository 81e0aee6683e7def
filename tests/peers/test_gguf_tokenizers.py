"""Tokenizers of GGUF files through scripts/import_gguf.py, token by token against those that define them."""
import inspect
import json
import math
import unicodedata

import gguf
import pytest
import transformers
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2, Qwen2Tokenizer

from conftest import model_folder, shared_data
from gguf_models import CONTROL, NORMAL, imported
from test_byte_bpe import ODD, RANDOM, STRINGS
from test_sentencepiece_json import MORE

import gguf_tokenizer  # gguf_models has put scripts/ on the path
from json_lines import BadInput, printable

LLAMA3 = inspect.signature(TikTokenConverter).parameters["pattern"].default
# transformers has it inside of a function of tokenization_utils_tokenizers.py, as mistral-common has it in tekken.json.
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = STRINGS | RANDOM | ODD | MORE


def trained(pattern, ignore_merges):
    """Byte-level BPE of 700 tokens that a pattern cuts, with tokens that merges do not make where they are to be ignored."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
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


@pytest.mark.parametrize(("pre", "pattern", "ignore_merges"), [
    ("llama-bpe", LLAMA3, True), ("qwen2", QWEN2, False), ("deepseek-r1-qwen", QWEN2, False), ("tekken", TEKKEN, True)])
def test_byte_level_tokenizers_are_those_of_the_models(tmp_path, assert_same_tokens, pre, pattern, ignore_merges):
    tokenizer, merges = trained(pattern, ignore_merges)
    out, _ = imported(tmp_path, **as_gguf(tokenizer, merges, pre))
    found = Tokenizer.from_file(str(out / "tokenizer.json"))
    if pattern == QWEN2:
        tokenizer.normalizer = Qwen2Tokenizer().backend_tokenizer.normalizer
        assert found.encode("Cafe\u0301").ids == found.encode("Caf\u00e9").ids
    for one in (tokenizer, found):
        one.encode_special_tokens = True
    for name, text in TEXTS.items():
        assert found.encode(text, add_special_tokens=False).ids == tokenizer.encode(text, add_special_tokens=False).ids, name
        assert found.decode(found.encode(text).ids, skip_special_tokens=False) == (unicodedata.normalize("NFC", text) if pattern == QWEN2 else text)
    if ignore_merges:
        assert found.encode(" square").ids == [700]
    assert_same_tokens(out, {name: text for name, text in TEXTS.items() if name != "newer scripts"})


def test_deepseeks_pieces(tmp_path, assert_same_tokens):
    """Its patterns are not in transformers: digits alone, words of letters with two cases, signs with a space before, ideographs together.  The range of
    signs from : to ~ has A to z, too, so that a word is cut again at its other letters."""
    cut = gguf_tokenizer.PRE_TOKENIZERS["deepseek-llm"][1]()

    def pieces(text):
        return [text[begin:end] for _, (begin, end) in cut.pre_tokenize_str(text)]

    assert pieces("In 2048 don't\r\n  Straße, 中文字 река") == [
        "In", " ", "2", "0", "4", "8", " don", "'", "t", "\r", "\n", " ", " Stra", "ß", "e", ",", " ", "中文字", " река"]
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
    ({"scores": [0.0] * 3}, "is not a number for each of 261 tokens"),
    ({"scores": [math.nan] * 261}, "is not a number for each"),
    ({"scores": None}, "'tokenizer.ggml.scores' is missing"),
    ({"tokens": bytes_and_letters()[0][:-1] + [""]}, "token 260 is empty"),
    ({"tokens": bytes_and_letters()[0][:-1] + ["▁"]}, "token '▁' is there twice"),
    ({"types": [2, 3, 3, *[6] * 255, 1, 1, 1]}, "255 tokens are of type BYTE"),
    ({"types": [2, 3, 3, *[6] * 257, 1]}, "257 tokens are of type BYTE"),
    ({"change": lambda writer: writer.add_unk_token_id(999)}, "is 999, and the 261 tokens"),
    ({"change": lambda writer: writer.add_string("tokenizer.ggml.add_space_prefix", "no")}, "not true or false"),
    ({"change": lambda writer: writer.add_precompiled_charsmap(b"abc")}, "precompiled_charsmap' is not supported"),
    ({"model": "t5"}, "tokenizer 't5' with pre-tokenizer 'default' is not supported"),
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
