"""Byte-level BPE token by token against Hugging Face's tokenizers: SmolLM2's on real texts and on strings that are meant to break it, and
tokenizer.json files of other kinds that are trained here.  The program's tokens are those it keeps in its cache."""
import json
import lzma
import os
import random
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

from checkpoints import save_llama
from conftest import model_folder
from support.program import REPO, assert_one_line

BYTES = 200_000  # of each real text
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

STRINGS = {
    "scripts": "Der Fluß läuft. Река бежит мимо мельницы. ποταμός 川が流れる 강이 흐른다 نهر يجري נהר זורם नदी बहती है แม่น้ำไหล Đây là sông.",
    "mixed in words": "naïveстрока日本ab한글xالعربيةy1२३٤٥6",
    "emoji": "😀👍🏽👩‍👩‍👧‍👦🇩🇪🏴󠁧󠁢󠁥󠁮󠁧󠁿 a😀b ☃️❤️‍🔥 1️⃣2️⃣",
    "combining": "é vs e\u0301, ñ vs n\u0303, a\u0300\u0301\u0302\u0303 x\u20dd ก็ ि\u093f \u0301alone \u200dZWJ\u200c \u2060",
    "line ends": "one\r\ntwo\n\rthree\r\r\nfour\n\n\n five\r\n\r\n  six\n \n\t\n",
    "spaces": " a  b   c    d" + " " * 37 + "e" + " " * 300 + "\n" + "\t" * 9 + "f \t \t g  \n   h " + "\n" * 50 + " ",
    "other spaces": "a\u00a0b\u2003c\u3000d\u1680e\u2028f\u2029g\u0085h\u202fi\u205fj\x0bk\x0cl \u00a0 \u2003\u2003 m\u00a0\u00a0\n\u3000n",
    "not quite spaces": "c\u200bd e\ufefff g\u2060h i\u00adj \x1c\x1d\x1e\x1f k  \x1c \u200b l",
    "only spaces": "     ",
    "only line ends": "\n\n\n\r\n",
    "digits": "1 12 123 1234 12345678901234567890 3.14159 1,000,000 0x1F 1e-10 ½²³ ⅣⅫ ٣٤٥ १२३ ①② 10% $5 1a2b3c 2024-02-29T12:34:56",
    "contractions": "I'm you're he'S SHE'LL they'Ve don't 'tis o'clock 'S'T'RE 'ſ '\u017ft x's's's ''s ' s 'd'ds l'été y'all'd've I’m",
    "special tokens": "<|endoftext|> <|im_start|>user\nhi<|im_end|> a<|endoftext|>b <repo_name><s></s> <|im_start |> <|endoftext|><|endoftext|>",
    "special alone": "<|endoftext|>",
    "control": "".join(map(chr, range(1, 32))) + "\x7f" + "a\x00b\x01c\x1b[31mred\x1b[0m" + "".join(map(chr, range(0x80, 0xa0))),
    "punctuation": "!!! ... --- ==== ////// \\\\ {}[]()<> \"'`´‘’“”«»„ a.b,c;d:e f—g – … ?!?! #@&* ~~~ | || a_b __init__ $$ €£¥ ©®™ °C",
    "code": "def f(x):\n    return x ** 2  # square\n\n\nif __name__ == '__main__':\n\tprint(f(3))\n\n}\n\n    }\n});\r\n\r\n",
    "long word": "a" * 5000 + " " + "ab" * 2000 + "é" * 500,
    "long runs": "-" * 3000 + "\n" * 2000 + " " * 3000 + "x",
    "marks and signs": "∀x∈ℝ: ∃y≤x² ∑∏∫√∞≠≈ ⊢⊨λμ→⟨⟩ 𝔸𝕭𝒞 𝟘𝟙 ﬁﬂ ĲŁøÅ ǅ ʰ",
    "edges of planes": "\ud7ff\ue000\uf8ff\ufffd\uffff\U00010000\U0001f9ff\U0002ffff\U000e0001\U0010ffff \u0378",
    # Up to Unicode 14, which is what Debian 12's PCRE2 knows; the peer knows 16.  Letters and digits of younger scripts are cut as signs are.
    "newer scripts": "\U00010570\U00010597 \U0001e290 \u0870 \u08b5\ua7c0 \U00010940\U00012f90",
    "surrounded": "  (hello)  [world] \n",
}


# White space, letters and digits of every script, each between marks, letters and spaces: where is it cut?
ODD = {f"odd {begin:x}": "".join(f"!{chr(c)}! a{chr(c)}b {chr(c)} 1{chr(c)}2" for c in range(begin, begin + 64) if c != 0x180E)
       for begin in (0x80, 0x1640 + 0x40, 0x1800, 0x2000, 0x2040, 0x3000, 0xFE00, 0x2460, 0x0E00)}


def random_text(seed, length=4000):
    """Characters of every kind, many of them spaces, digits and letters."""
    drawn = random.Random(seed)
    kinds = [lambda: drawn.choice(" \n\t\r"), lambda: chr(drawn.randrange(32, 127)), lambda: drawn.choice("0123456789"), lambda: drawn.choice("'sStTrevmlLd "),
             lambda: chr(drawn.randrange(0xA0, 0x250)), lambda: chr(drawn.randrange(0x370, 0x530)), lambda: chr(drawn.randrange(0x4E00, 0x9FFF)),
             lambda: chr(drawn.choice([drawn.randrange(0x300, 0x370), drawn.randrange(0x900, 0xE00), drawn.randrange(0x2000, 0x2070),
                                       drawn.randrange(0x1F300, 0x1FA00)]))]
    return "".join(drawn.choice(kinds)() for _ in range(length))


RANDOM = {f"random {seed}": random_text(seed) for seed in range(20)}


def real_text(name):
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA is not set")
    lines = lzma.open(Path(os.environ["QROAR_DATA"]) / f"{name}.jsonl.xz", "rt", encoding="utf-8", newline="")
    texts, size = {}, 0
    for number, line in enumerate(lines):
        text = json.loads(line)["text"][:BYTES - size]
        texts[f"{name} {number}"] = text
        size += len(text)
        if size >= BYTES:
            break
    return texts


@pytest.mark.parametrize("name", ["gov/gao", "proofpile/formal", "proofpile/books", "wikitext2/test", "calib/calib"])
def test_every_token_of_a_real_text_is_the_peer_s(assert_same_tokens, name):
    texts = real_text(name)
    assert sum(map(len, texts.values())) > 0.9 * BYTES
    assert_same_tokens(model_folder("smollm2-135m"), texts)


def missing_bytes(folder):
    """Bytes that no token stands for: SmolLM2's vocabulary lacks some control characters'."""
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    others = iter(range(256, 512))
    shown = {byte: chr(byte if (33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174) else next(others)) for byte in range(256)}
    assert shown[32] == "Ġ"
    return {byte for byte, name in shown.items() if name not in vocabulary}


@pytest.mark.parametrize("name", STRINGS)
def test_every_token_of_a_nasty_string_is_the_peer_s(assert_same_tokens, name):
    folder = model_folder("smollm2-135m")
    missing = missing_bytes(folder)
    text = "".join(character for character in STRINGS[name] if not missing & set(character.encode()))
    assert_same_tokens(folder, {name: text})


def test_a_byte_without_a_token_is_left_out_as_the_peer_does_or_named_with_its_document(assert_same_tokens):
    folder = model_folder("smollm2-135m")
    missing = sorted(missing_bytes(folder) & set(range(1, 32)))
    assert missing
    try:
        assert_same_tokens(folder, {"fine": "A text.", "odd": f"A{chr(missing[0])}text."})
    except AssertionError as error:
        if not all(part in str(error) for part in ("texts.jsonl", "'odd'", f"{missing[0]:#04x}")):
            raise


def test_every_token_of_random_texts_is_the_peer_s(assert_same_tokens):
    assert_same_tokens(model_folder("smollm2-135m"), RANDOM)


def trained(pre_tokenizer, size=6000, **options):
    """A tokenizer trained on a small text and on the strings, so that a piece that is cut elsewhere is merged to other tokens; with every byte
    in its vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    text = [json.loads(line)["text"] for line in (REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()]
    text += [*STRINGS.values(), *RANDOM.values(), *ODD.values()] * 2
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=["<|endoftext|>", "<s>"])
    tokenizer.train_from_iterator(text, trainer)
    if not options:
        return tokenizer
    fields = json.loads(tokenizer.to_str())
    fields["model"] |= options
    return Tokenizer.from_str(json.dumps(fields))


def sequence(*parts):
    return pre_tokenizers.Sequence(list(parts))


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**({"add_prefix_space": False} | options))


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


KINDS = {
    "GPT-2": lambda: trained(byte_level()),
    "GPT-2 with a space before": lambda: trained(byte_level(add_prefix_space=True)),
    "no pieces": lambda: trained(byte_level(use_regex=False), size=600),
    "Llama-3": lambda: trained(sequence(split(LLAMA3), byte_level(use_regex=False)), ignore_merges=True),
    "Llama-3 that merges": lambda: trained(sequence(split(LLAMA3), byte_level(use_regex=False))),
    "Qwen2 without a normalizer": lambda: trained(sequence(split(QWEN2), byte_level(use_regex=False))),
    "single digits": lambda: trained(sequence(pre_tokenizers.Digits(individual_digits=True), byte_level())),
    "runs of digits": lambda: trained(sequence(pre_tokenizers.Digits(individual_digits=False), byte_level())),
    "digits and then a space before": lambda: trained(sequence(pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=True))),
    "pieces and then a space before": lambda: trained(sequence(split(LLAMA3), byte_level(add_prefix_space=True, use_regex=False))),
    "whole pieces first": lambda: trained(byte_level(), ignore_merges=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_of_other_kinds_is_the_peer_s(assert_same_tokens, tmp_path, kind):
    KINDS[kind]().save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, STRINGS | RANDOM | ODD)


def test_the_mongolian_vowel_separator_is_no_space(assert_same_tokens, tmp_path):
    # Unicode took it from the spaces in 6.3; PCRE2's \s keeps it.
    texts = {"vowel separator": "!\u180e! a\u180eb \u180e 1\u180e2 \u180e\u180e \u180e!\n\u180e \n"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level()
    tokenizer.train_from_iterator([texts["vowel separator"]] * 2, trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, texts)


def test_whole_pieces_first_takes_tokens_that_no_merge_makes(assert_same_tokens, tmp_path):
    fields = json.loads(trained(byte_level()).to_str())
    fields["model"]["ignore_merges"] = True
    fields["model"]["merges"] = fields["model"]["merges"][:200]  # the vocabulary keeps what the others made
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    assert_same_tokens(tmp_path, STRINGS)


def test_merges_may_be_written_as_texts(assert_same_tokens, tmp_path):
    fields = json.loads(trained(byte_level()).to_str())
    fields["model"]["merges"] = [" ".join(merge) for merge in fields["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    assert_same_tokens(tmp_path, STRINGS)


def test_added_tokens_that_are_not_special_are_tokens_in_the_text_too(assert_same_tokens, tmp_path):
    tokenizer = trained(byte_level())
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False), AddedToken("    ", special=False, normalized=False)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert_same_tokens(tmp_path, STRINGS | {"call": "a <tool_call> b<tool_call>c", "four": "a    b\n    c        d"})


def test_an_added_token_with_another_id_than_hugging_faces_is_refused(run, tmp_path):
    """Their tokenizers count on from the vocabulary whatever the file says, so that the id in it is nobody's."""
    tokenizer = trained(byte_level())
    model = save_llama(tmp_path / "model", vocab_size=7000, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    tokenizer.add_tokens([AddedToken("<call>", special=False, normalized=False)])
    fields = json.loads(tokenizer.to_str())
    given = fields["added_tokens"][-1]["id"]
    fields["added_tokens"][-1]["id"] = given + 3
    (model / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    assert Tokenizer.from_file(str(model / "tokenizer.json")).encode("<call>").ids == [given]
    (tmp_path / "text.txt").write_text("a <call> b", encoding="utf-8")
    (tmp_path / "e.yaml").write_text(f"model: {{path: {model}, dtype: float32}}\ndata: {{path: {tmp_path}/text.txt}}\nwindows: {{length: 8}}\n", encoding="utf-8")
    assert_one_line(run("check", tmp_path / "e.yaml"), f'tokenizer.json: its added token "<call>" has the id {given + 3}, and Hugging Face\'s', f"make it {given}; take")
