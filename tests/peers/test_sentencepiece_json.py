"""tokenizer.json files of SentencePiece Llamas, as transformers saves them, token by token against Hugging Face's tokenizers, transformers and
SentencePiece itself."""
import json
import shutil

import pytest
import transformers
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer

from conftest import model_folder, shared_data
from support.program import copy_of_tiny_books, read_csv, read_token_file
from support.tasks import write_lines
from test_byte_bpe import ODD, RANDOM, STRINGS, real_text

PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
MORE = {"marks": "▁a ▁ b▁▁c <0x0A><0xZZ> <0x41>", "leading": " leading space\n\n  x", "one space": " ", "one mark": "▁", "nul": "a\x00b",
        "turns": "[INST] hi [/INST] <s>x</s> <unk> </s><s>", "nfd": "Cafe\u0301 A\u030a \u1100\u1161\u11a8 ﬁ \u212b"}
TEXTS = STRINGS | RANDOM | ODD | MORE
SOURCES = ["llama2", "tiny-books", "stories260k"]


def model_file(name):
    return shared_data("tokenizers/llama2-tokenizer.model") if name == "llama2" else model_folder(name) / "tokenizer.model"


def changed(folder, **parts):
    fields = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) | parts
    (folder / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")


def metaspace(**more):
    return {"type": "Metaspace", "replacement": "▁"} | more


KINDS = {  # how the tokenizer is loaded, and what is changed in its file
    "AutoTokenizer's": (transformers.AutoTokenizer, {}, {}),
    "LlamaTokenizer's": (transformers.LlamaTokenizer, {}, {}),
    "LlamaTokenizer's legacy one": (transformers.LlamaTokenizer, {"legacy": True}, {}),
    "LlamaTokenizer's without a space before": (transformers.LlamaTokenizer, {"add_prefix_space": False}, {}),
    "Llama-2's as it was published": (transformers.LlamaTokenizer, {}, {"normalizer": PREPEND, "pre_tokenizer": None}),
    "cut at spaces": (transformers.LlamaTokenizer, {}, {"pre_tokenizer": metaspace(prepend_scheme="first", split=True)}),
    "cut at spaces, always one before": (transformers.LlamaTokenizer, {}, {"pre_tokenizer": metaspace(add_prefix_space=True)}),
}


@pytest.fixture
def saved(tmp_path):
    """saved(source, kind) -> a folder with the tokenizer.json that transformers saves of a folder with tokenizer.model alone."""

    def save(source, kind):
        (tmp_path / "source").mkdir()
        shutil.copy(model_file(source), tmp_path / "source/tokenizer.model")
        loader, options, parts = KINDS[kind]
        loader.from_pretrained(tmp_path / "source", **options).save_pretrained(tmp_path / "saved")
        assert not (tmp_path / "saved/tokenizer.model").exists()
        changed(tmp_path / "saved", **parts)
        return tmp_path / "saved"

    return save


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_token_is_the_peer_s(assert_same_tokens, saved, source, kind):
    assert len(TEXTS) > 25
    assert_same_tokens(saved(source, kind), TEXTS)


@pytest.mark.parametrize("name", ["gov/gao", "proofpile/books", "calib/calib"])
@pytest.mark.parametrize(("source", "kind"), [("llama2", "AutoTokenizer's"), ("llama2", "Llama-2's as it was published"), ("tiny-books", "LlamaTokenizer's")])
def test_every_token_of_a_real_text_is_the_peer_s(assert_same_tokens, saved, source, kind, name):
    assert_same_tokens(saved(source, kind), real_text(name))


@pytest.mark.parametrize("kind", ["AutoTokenizer's", "LlamaTokenizer's"])
def test_transformers_gives_the_tokens_of_the_file_that_is_read(saved, kind):
    folder = saved("llama2", kind)
    peer, own = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name, text in TEXTS.items():
        if "<s>" not in text and "</s>" not in text and "<unk>" not in text:
            assert peer.encode(text, add_special_tokens=False) == own.encode(text, add_special_tokens=False).ids, name


def test_where_no_spaces_follow_each_other_the_tokens_are_sentencepiece_s(saved):
    # transformers 5.17 ranks runs of spaces by their ids, SentencePiece merges them last: numbers hang on the file that is there.
    folder = saved("llama2", "Llama-2's as it was published")
    peer, own = SentencePieceProcessor(model_file=str(model_file("llama2"))), Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.encode_special_tokens = True
    texts = {name: text for name, text in TEXTS.items() if "  " not in f" {text}" and "▁" not in text}
    assert len(texts) > 25
    assert [name for name, text in texts.items() if peer.encode(text) != own.encode(text, add_special_tokens=False).ids] == []
    assert peer.encode("x  y") != own.encode("x  y", add_special_tokens=False).ids


def test_added_tokens_that_are_special_are_text_where_they_are_spelled_out(assert_same_tokens, saved):
    folder = saved("tiny-books", "LlamaTokenizer's")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("[PAD]", special=True, normalized=False), AddedToken("<|im_end|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert_same_tokens(folder, MORE | {"chat": "a [PAD]b <|im_end|> c<|im_end|>"})


def test_a_megabyte_without_a_cut_takes_seconds_at_most(assert_same_tokens, saved):
    text = "".join(real_text("gov/gao").values())
    assert_same_tokens(saved("llama2", "AutoTokenizer's"), {"long": text * (1_000_000 // len(text) + 1), "run": "ab" * 300_000})


@pytest.mark.parametrize(("source", "kind"), [("tiny-books", "Llama-2's as it was published"), ("stories260k", "LlamaTokenizer's")])
def test_the_script_s_token_file_holds_the_same_tokens(run_script, saved, tmp_path, source, kind):
    folder = saved(source, kind)
    write_lines(tmp_path / "texts.jsonl", [{"id": name, "text": text} for name, text in TEXTS.items()])
    process = run_script("tokenize_texts.py", folder, tmp_path / "texts.jsonl", tmp_path / "texts.tok")
    assert process.returncode == 0, process.stderr
    header, tokens = read_token_file(tmp_path / "texts.tok")
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.encode_special_tokens = True
    for text, ids in zip(TEXTS.values(), tokens, strict=True):
        assert ids.tolist() == own.encode(text, add_special_tokens=False).ids


def test_answers_that_are_decoded_are_those_with_tokenizer_model(run, experiment, saved, tmp_path):
    questions = [{"context": "It was a dark night.", "answers": ["x"]}, {"context": "Once upon a time there was a", "answers": ["x"]},
                 {"context": "The naïve café, 7 € — and so", "answers": ["x"]}]
    write_lines(tmp_path / "questions.jsonl", questions)
    answers = {}
    folder = saved("tiny-books", "Llama-2's as it was published")
    for name in ("tokenizer.model", "tokenizer.json"):
        model = copy_of_tiny_books(tmp_path / name.replace(".", "-"))
        (model / "tokenizer.model").unlink()
        shutil.copy((folder if name.endswith("json") else model_folder("tiny-books")) / name, model)
        task = {"type": "qa", "path": str(tmp_path / "questions.jsonl"), "prompt": "{context}", "new_tokens": 40, "stop": ""}
        process = run("run", experiment({"model.path": str(model), "data": None, "sweep": None, "windows": {"length": 256}, "tasks": [task]}),
                      "--results", tmp_path / "results" / name)
        assert process.returncode == 0, process.stderr
        (file,) = (tmp_path / "results" / name).glob("cells/*/tasks/questions.csv")
        answers[name] = [line["answer"] for line in read_csv(file.read_text(encoding="utf-8"))]
    assert answers["tokenizer.json"] == answers["tokenizer.model"] and all(len(answer) > 20 for answer in answers["tokenizer.json"])
