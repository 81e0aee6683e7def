"""Caches whose bytes flip (tokens, calibration, the search's journal): a warning, what they say is made again, and the row is that of a fresh run
to the bit."""
import json
import os
import random

import pytest

from support.program import TEXT, copy_of_tiny_books, lasting, read_rows

CALIBRATED = {"sweep": None, "windows": {"length": 64, "truncate": True}, "quant": [{"match": "layers.0.*", "weight": {"type": "awq", "group": 64, "bits": 3}}],
              "calibration": {"data": {"path": str(TEXT)}, "samples": 2, "length": 32}}
SEARCHED = {"data": {"path": str(TEXT), "skip": 1}, "windows": {"length": 64, "truncate": True, "bos": False}, "sweep": None,
            "rope": {"type": "yarn", "factor": 2}, "quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}],
            "rescale": {"type": "bands", "bands": 2, "search": {"data": {"path": str(TEXT), "documents": 1}, "lengths": [64], "short_length": 32,
                                                                "guard": 1, "grid": {"points": 3}}}}


@pytest.fixture
def again(run, tmp_path):
    """again(file) -> (lasting rows, stderr) of a run, into a results folder of its own, whose cache is tmp_path/cache."""
    environment = os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}
    count = iter(range(1000))

    def run_again(file):
        results = tmp_path / f"results{next(count)}"
        process = run("run", file, "--results", results, env=environment)
        assert process.returncode == 0, process.stderr
        return {cell: lasting(row) for cell, row in read_rows(results).items()}, process.stderr

    return run_again


def flipped(content, place, drawn):
    return content[:place] + bytes([content[place] ^ drawn.randrange(1, 256)]) + content[place + 1:]


def assert_flips_are_seen(again, file, cache, places, warning, expected, whole=None):
    """With one byte of the cache flipped, at each of the places in turn, the run warns and gives the expected rows."""
    drawn = random.Random(5)
    content = cache.read_bytes()
    for place in places:
        cache.write_bytes(flipped(content, place, drawn))
        rows, log = again(file)
        assert rows == expected, place
        told = [line for line in log.splitlines() if f"{cache}" in line and " warning " in line]
        assert told and all(warning in line for line in told), (place, log)
        if whole is not None:
            assert cache.read_bytes() == whole, place  # it is whole again
    cache.write_bytes(content)
    rows, log = again(file)
    assert rows == expected and warning not in log


def spread(size, count, drawn, *more):
    return sorted({*more, *(drawn.randrange(size) for _ in range(count))})


def test_tokens_that_flip_are_made_again(again, experiment, tmp_path):
    file = experiment({"sweep": None, "windows": {"length": 32, "truncate": True}})
    expected, log = again(file)
    assert " warning " not in log
    (cache,) = (tmp_path / "cache/tokens").iterdir()
    content = cache.read_bytes()
    header = content.index(b"}")
    drawn = random.Random(1)
    places = spread(len(content), 10, drawn, 0, 9, 13, content.index(b'"hash"') + 3, content.index(b'"hash"') + 20, content.index(b'"ids"') + 9,
                    content.index(b'"vocab_size"') + 14, content.index(b'"tokenizer"') + 20, content.index(b'"bytes"') + 10, header + 1, header + 9,
                    len(content) - 1, len(content) - 4)
    assert_flips_are_seen(again, file, cache, places, "tokenizing again", expected, whole=content)


@pytest.mark.parametrize(("was", "becomes"), [(b'"vocab_size":4096', b'"vocab_size":4090'), (b'"words":[', b'"Words":['), (b'"hash"', b'"hush"'),
                                              (b'"tokenizer":"', b'"tokenizer":"0')])
def test_a_header_that_was_altered_is_not_believed(again, experiment, tmp_path, was, becomes):
    file = experiment({"sweep": None, "windows": {"length": 64}, "metrics": ["perplexity", "bits_per_byte"]})
    expected, _ = again(file)
    (cache,) = (tmp_path / "cache/tokens").iterdir()
    content = cache.read_bytes()
    assert was in content
    size = int.from_bytes(content[12:16], "little") + len(becomes) - len(was)
    cache.write_bytes((content[:12] + size.to_bytes(4, "little") + content[16:]).replace(was, becomes, 1))
    rows, log = again(file)
    assert rows == expected and "tokenizing again" in log
    assert cache.read_bytes() == content


def test_the_tokens_of_another_text_are_not_believed(again, experiment, tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("The kiln stood where the road turned to the river. " * 4, encoding="utf-8")
    second.write_text("A cart came up the road with two men and a lantern. " * 4, encoding="utf-8")
    changes = {"sweep": None, "windows": {"length": 32, "truncate": True}}
    expected, _ = again(experiment(changes | {"data.path": str(first)}, "first.yaml"))
    (cache,) = (tmp_path / "cache/tokens").iterdir()
    again(experiment(changes | {"data.path": str(second)}, "second.yaml"))
    (other,) = {*(tmp_path / "cache/tokens").iterdir()} - {cache}
    cache.write_bytes(other.read_bytes())
    rows, log = again(tmp_path / "first.yaml")
    assert rows == expected and "cached tokens of another tokenizer or text; tokenizing again" in log


def test_a_calibration_that_flips_is_made_again(again, experiment, tmp_path):
    file = experiment(CALIBRATED)
    expected, log = again(file)
    assert " warning " not in log
    (cache,) = (tmp_path / "cache/calibration").iterdir()
    content = cache.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    drawn = random.Random(2)
    # Spaces that pad the header and the name of its format say nothing; whatever says something is looked at.
    places = spread(len(content), 12, drawn, 0, 9, content.index(b"key.") + 1, content.index(b"key.") + 10, content.index(b"key.") + 50,
                    content.index(b'"shape"') + 9, content.index(b'"dtype"') + 9, header, header + 3, len(content) - 1)
    says_nothing = {*range(content.index(b'"__metadata__"'), content.index(b"}") + 1), *range(len(content[:header].rstrip()), header)}
    places = [place for place in places if place not in says_nothing]
    assert_flips_are_seen(again, file, cache, places, "calibrating again", expected)


def test_scores_that_flip_are_computed_again(again, experiment, tmp_path):
    file = experiment(SEARCHED)
    expected, log = again(file)
    assert " warning " not in log
    cache = max((tmp_path / "cache/search").glob("*/journal.jsonl"), key=lambda path: path.stat().st_size)  # not that of one temperature
    content = cache.read_bytes()
    drawn = random.Random(3)
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    places = spread(len(content) - 1, 10, drawn, 0, content.index(b'"nll"') + 8, content.index(b'"point"') + 10, content.index(b'"hash"') + 12, ends[0])
    assert_flips_are_seen(again, file, cache, places, "computed again", expected)


def test_a_digit_of_a_score_is_not_believed(again, experiment, tmp_path):
    file = experiment(SEARCHED)
    expected, _ = again(file)
    cache = max((tmp_path / "cache/search").glob("*/journal.jsonl"), key=lambda path: path.stat().st_size)  # not that of one temperature
    lines = [json.loads(line) for line in cache.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["kind"] == "score":
            line["nll"] = [1.0] * len(line["nll"])
    cache.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), encoding="utf-8")
    rows, log = again(file)
    assert rows == expected
    assert f"{cache}:" in log and "lines are not as they were written; what they held is computed again" in log


def test_another_tokenizer_makes_other_tokens_and_a_known_one_is_found_again(again, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"sweep": None, "model.path": str(model), "windows": {"length": 32, "truncate": True}})
    again(file)
    with open(model / "tokenizer.model", "ab") as tokenizer:
        tokenizer.write(b"\x98\x3e\x00")  # an unknown field of its protobuf
    again(file)
    assert len(list((tmp_path / "cache/tokens").iterdir())) == 2
