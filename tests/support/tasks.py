"""Small tasks for tiny-books, which several tests ask."""
import json

from sentencepiece import SentencePieceProcessor

from support.program import TEXT, TINY_BOOKS

WINDOW = 512
QUESTIONS = [
    {"id": "kiln", "query": "The kiln stood at the bottom of the", "choices": ["garden", "moon", "sea and the"], "label": 0},
    {"id": "cart", "query": "A cart comes up the", "choices": ["road", "zebra"], "label": 1},
    {"query": "He opened the door and went", "choices": ["in", "quantum"], "label": 0},
]
PASSKEY = {"type": "passkey", "lengths": [96, 128], "depths": [0, 0.5, 1], "samples": 2}
ASKED = [{"id": "look", "context": "The old man looked at her for a long time, and then he"},
         {"id": "river", "context": "In the morning they went down to the river, and"},
         {"id": "mill", "context": "There was a mill by the road, and in it"}]
LONG = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"]


def tokens_of(text):
    return SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model")).encode(text)


def write_five_texts(path):
    """Five documents of unequal length."""
    words = "The kiln stood where the road turned to the river and a cart came up with two men and a lantern in the rain . ".split()
    return write_lines(path, [{"id": f"d{n}", "text": " ".join((words * 9)[n:n + 60 + 25 * n])} for n in range(5)])


def write_lines(path, lines):
    """Objects as a .jsonl file, whose path is returned."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
