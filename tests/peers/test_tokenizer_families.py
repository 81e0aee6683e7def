"""The tokenizer.json files of model families, token by token against Hugging Face's tokenizers: normalizers, patterns and added tokens as the
families have them, on vocabularies that are trained here, and on real ones where PyPI packages bring them (any_python.txt)."""
import base64
import importlib.util
import itertools
import json
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from conftest import existing
from support.program import REPO
from test_byte_bpe import LLAMA3, ODD, QWEN2, RANDOM, STRINGS, byte_level, sequence, split, trained

MORE = {
    "markup": "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<think>\nhm\n</think>\n<tool_call>{}</tool_call> [INST] x [/INST]</s>  \n y <s>x</s><unk> <0x0A>",
    "nfd": "Cafe\u0301 A\u030a \u1100\u1161\u11a8 ﬁ \u212b \u2126 e\u0323\u0302 a\u0301\u0323 \u0958 \u0344 \u0f73 ①ｱﾊﾞ \ufdfa",
    "marks": "q" + "\u0301\u0323" * 300 + " ø ö ú ÿ ▁a ▁ ▁▁b\n\n\n\nc        d \t<think> <think>e",
    "leading": " leading space\n\n  x", "one space": " ", "one mark": "▁", "empty": "x", "nul": "a\x01b"}

def is_known(character):
    """Whether the peer's normal forms know it, whose tables are of Unicode 9, and Debian 12's PCRE2, whose are of 14 as this Python's."""
    text = f"a\u0323{character}\u0301\u0315{character}"
    peer = [form.normalize_str(text) for form in (normalizers.NFC(), normalizers.NFKD())]
    return unicodedata.category(character) != "Cn" and peer == [unicodedata.normalize(form, text) for form in ("NFC", "NFKD")]


KNOWN = {name: "".join(filter(is_known, RANDOM[name])) for name in list(RANDOM)[:8]}
TEXTS = STRINGS | MORE | ODD | KNOWN

UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{REST}"
ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDINGS}|\p{{N}}{{1,3}}|{REST}"
DEEPSEEK3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
BYTES = byte_level(use_regex=False)
DEEPSEEK_OLD = sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"),
                        pre_tokenizers.Digits(individual_digits=True), BYTES)


def plain(*contents, **options):
    return [AddedToken(content, **({"normalized": False} | options)) for content in contents]


def special(*contents, **options):
    return plain(*contents, special=True, **options)


CHAT = special("<|im_start|>", "<|im_end|>")
BYTE_FAMILIES = {  # pattern and what else cuts, normalizer, added tokens, options of the model
    "llama3": (sequence(split(LLAMA3), BYTES), None, special("<|begin_of_text|>"), {"ignore_merges": True}),
    "r1-distill-llama": (sequence(split(LLAMA3), BYTES), None, plain("<think>", "</think>"), {"ignore_merges": True}),
    "qwen1.5": (sequence(split(QWEN2), BYTES), normalizers.NFC(), CHAT, {}),
    "qwen3": (sequence(split(QWEN2), BYTES), normalizers.NFC(), CHAT + plain("<think>", "</think>", "<tool_call>", "</tool_call>"), {}),
    "deepseek-coder": (DEEPSEEK_OLD, normalizers.Sequence([]), plain("õ", "ø", "ö", "ú", "ÿ", normalized=True), {}),
    "deepseek-v2": (DEEPSEEK_OLD, None, special("<｜begin▁of▁sentence｜>"), {}),
    "deepseek-v3": (sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3), BYTES), normalizers.Sequence([]),
                    special("<｜User｜>") + plain("<think>", "</think>", normalized=True), {}),
    "mistral's tekken": (sequence(split(TEKKEN), BYTES), None, special("[INST]", "[/INST]"), {"ignore_merges": True}),
    "gpt-4o's": (sequence(split(O200K), BYTES), None, CHAT, {}),
    "gpt-4's, where the rest is removed": (sequence(pre_tokenizers.Split(Regex(LLAMA3), "removed", invert=True), BYTES), None, CHAT, {}),
    "superbpe's thousands": (sequence(split(r"(?=(\d{3})+(?!\d))"), BYTES), None, CHAT, {}),
    "smollm": (sequence(pre_tokenizers.Digits(individual_digits=True), byte_level()), None, CHAT, {}),
    "neox": (byte_level(), normalizers.NFC(), plain("  ", "    ", "        ", normalized=True), {}),
    "NFKC": (byte_level(), normalizers.NFKC(), plain("fi", normalized=True), {}),
    "NFD": (byte_level(), normalizers.NFD(), plain("é", normalized=True), {}),
    "NFKD": (byte_level(), normalizers.Sequence([normalizers.NFKD(), normalizers.Replace("\n", "  ")]), [], {}),
}

MARKS = normalizers.Replace(" ", "▁")
PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), MARKS])
SENTENCEPIECE_FAMILIES = {  # normalizer, pre-tokenizer, added tokens
    "llama2": (PREPEND, None, []),
    "mistral-v0.3": (None, pre_tokenizers.Metaspace("▁", "first", split=False), special("[INST]", "[/INST]")),
    "phi-3": (PREPEND, None, plain("</s>", rstrip=True) + special("<|user|>", rstrip=True)),
    "gemma": (MARKS, pre_tokenizers.Split(" ", "merged_with_previous"), plain("\n\n", "\n\n\n", "▁▁", "<think>") + special("<start_of_turn>")),
    "a token that takes white space on both sides": (PREPEND, None, plain("<think>", lstrip=True, rstrip=True) + plain(" ", "ö", normalized=True)),
    "white space that takes all around it": (None, pre_tokenizers.Metaspace("▁", "first"), plain("\n", "  ", lstrip=True, rstrip=True)),
    "sections with a space before each": (None, pre_tokenizers.Metaspace("▁", "always"), plain("<think>", "2")),
    "only the text has a space before": (None, pre_tokenizers.Metaspace("▁", "first"), plain("<think>", "2")),
}


def byte_family(name):
    pre_tokenizer, normalizer, added, options = BYTE_FAMILIES[name]
    tokenizer = trained(pre_tokenizer, **options)
    tokenizer.decoder = decoders.ByteLevel()
    return with_parts(tokenizer, normalizer, pre_tokenizer, added)


def sentencepiece_family(name):
    normalizer, pre_tokenizer, added = SENTENCEPIECE_FAMILIES[name]
    tokenizer = with_parts(Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>")), normalizer, pre_tokenizer, [])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    first = ["<unk>", "<s>", "</s>"] if name != "phi-3" else ["<unk>", "<s>"]
    trainer = trainers.BpeTrainer(vocab_size=3000, limit_alphabet=200, special_tokens=first, show_progress=False, max_token_length=8)
    lines = [json.loads(line)["text"] for line in (REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()]
    words = " ".join([*lines, *MORE.values()]).split(" ")  # one text would be one piece of the trainer
    tokenizer.train_from_iterator([" ".join(words[i:i + 4]) for i in range(0, len(words), 4)] * 2, trainer)
    fields = json.loads(tokenizer.to_str())
    vocabulary = fields["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    if name == "phi-3":
        vocabulary.setdefault("</s>", len(vocabulary))
    tokenizer = Tokenizer.from_str(json.dumps(fields))
    return with_parts(tokenizer, normalizer, pre_tokenizer, added)


def with_parts(tokenizer, normalizer, pre_tokenizer, added):
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    return tokenizer


@pytest.mark.parametrize("name", BYTE_FAMILIES)
def test_every_token_of_a_byte_level_family_is_the_peer_s(assert_same_tokens, tmp_path, name):
    byte_family(name).save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, TEXTS)


@pytest.mark.parametrize("name", SENTENCEPIECE_FAMILIES)
def test_every_token_of_a_family_with_byte_fallback_is_the_peer_s(assert_same_tokens, tmp_path, name):
    sentencepiece_family(name).save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, TEXTS)


@pytest.mark.parametrize("name", ["qwen3", "deepseek-v3", "phi-3"])
def test_every_token_of_a_long_manual_is_the_peer_s(assert_same_tokens, tmp_path, manuals, name):
    (byte_family(name) if name in BYTE_FAMILIES else sentencepiece_family(name)).save(str(tmp_path / "tokenizer.json"))
    manual = json.loads(manuals.read_text(encoding="utf-8").splitlines()[0])["text"][:200_000]
    assert_same_tokens(tmp_path, {"manual": manual, "with tokens": manual.replace("\n\n", " <think>\n\n")})


@pytest.mark.parametrize("name", ["qwen3", "NFKC", "NFD", "NFKD"])
def test_the_normal_form_of_every_character_is_the_peer_s(assert_same_tokens, tmp_path, name):
    ranges = [(0xA0, 0xD800), (0xF900, 0x12000), (0x1D100, 0x1D250), (0x1F100, 0x1F260), (0x2F800, 0x2FA20)]
    characters = [chr(c) for c in itertools.chain(*itertools.starmap(range, ranges)) if c != 0x180E and unicodedata.category(chr(c)) != "Cn"]
    known = list(filter(is_known, characters))
    assert len(characters) - 200 < len(known) < len(characters)
    texts = {f"{ord(known[i]):x}": "".join(f"a{c}\u0323\u0301\u0315{c}" for c in known[i:i + 500]) for i in range(0, len(known), 500)}
    byte_family(name).save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, texts)


def packaged(package, path):
    """A file of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed; scripts/setup --test does that")
    return existing(Path(found.submodule_search_locations[0]) / path, f"another version of {package} than any_python.txt's")


def tiktoken_ranks(path):
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in path.read_bytes().splitlines() if line)}


def tekken_ranks(path):
    fields = json.loads(path.read_text(encoding="utf-8"))
    most = fields["config"]["default_vocab_size"] - fields["config"]["default_num_special_tokens"]
    return {base64.b64decode(token["token_bytes"]): token["rank"] for token in fields["vocab"] if token["rank"] < most}


def from_ranks(ranks, family):
    """A byte-level tokenizer whose merges are all halves of its tokens, the token of lower rank first."""
    shown = dict(enumerate(byte_characters()))
    name = {token: "".join(shown[byte] for byte in token) for token in ranks}
    halves = [(rank, ranks[token[:i]], token[:i], token[i:]) for token, rank in ranks.items() for i in range(1, len(token))
              if token[:i] in ranks and token[i:] in ranks]
    merges = [(name[left], name[right]) for _, _, left, right in sorted(halves)]
    pre_tokenizer, normalizer, added, options = BYTE_FAMILIES[family]
    tokenizer = Tokenizer(models.BPE({name[token]: rank for token, rank in ranks.items()}, merges, **options))
    tokenizer.decoder = decoders.ByteLevel()
    return with_parts(tokenizer, normalizer, pre_tokenizer, added)


def byte_characters():
    others = iter(range(256, 512))
    return [chr(byte if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174 else next(others)) for byte in range(256)]


REAL = {
    "llama3": ("llama3", tiktoken_ranks, "llama_models", "llama3/tokenizer.model"),
    "r1-distill-llama": ("r1-distill-llama", tiktoken_ranks, "llama_models", "llama3/tokenizer.model"),
    "qwen1.5": ("qwen1.5", tiktoken_ranks, "dashscope", "resources/qwen.tiktoken"),
    "qwen3": ("qwen3", tiktoken_ranks, "dashscope", "resources/qwen.tiktoken"),
    "tekken": ("mistral's tekken", tekken_ranks, "mistral_common", "data/tekken_240911.json"),
}


@pytest.mark.parametrize("name", REAL)
def test_every_token_of_a_real_vocabulary_is_the_peer_s(assert_same_tokens, tmp_path, manuals, name):
    family, ranks, package, path = REAL[name]
    from_ranks(ranks(packaged(package, path)), family).save(str(tmp_path / "tokenizer.json"))
    manual = json.loads(manuals.read_text(encoding="utf-8").splitlines()[0])["text"][:200_000]
    assert_same_tokens(tmp_path, TEXTS | {"manual": manual})
