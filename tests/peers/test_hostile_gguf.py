"""scripts/import_gguf.py on files that lie: each is refused in one line, with no more memory than the file has, or imported with the right values."""
import json
import resource
import struct
import sys

import numpy as np
import pytest

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
import import_gguf  # noqa: E402
from json_lines import BadInput, printable  # noqa: E402

HIDDEN, INNER, HEADS = 8, 16, 2
TOKENS, MERGES = ["a", "b", "ab"], ["a b"]
BLOCK = {"attn_q": (8, 8), "attn_k": (8, 8), "attn_v": (8, 8), "attn_output": (8, 8), "ffn_gate": (16, 8), "ffn_up": (16, 8), "ffn_down": (8, 16),
         "attn_norm": (8,), "ffn_norm": (8,)}
SHAPES = {"token_embd.weight": (3, 8), "output_norm.weight": (8,), **{f"blk.0.{name}.weight": shape for name, shape in BLOCK.items()}}
U32, F32, TEXT, ARRAY, I32 = 4, 6, 8, 9, 5
GIANT = (0, 1, 7, 2**31, 2**32 - 1)
GIANT_64 = (*GIANT, 2**32, 2**62, 2**63, 2**64 - 1)


class Written:
    """A small valid file, and where in it each field of the header lies: {name: (offset, form of struct)}."""

    def __init__(self):
        self.content, self.fields = bytearray(), {}
        self.put("magic", "4s", b"GGUF")
        self.put("version", "I", 3)
        self.put("tensors", "Q", len(SHAPES))
        keys = {"general.architecture": (TEXT, "llama"), "llama.block_count": (U32, 1), "llama.context_length": (U32, 16), "llama.embedding_length": (U32, HIDDEN),
                "llama.feed_forward_length": (U32, INNER), "llama.attention.head_count": (U32, HEADS), "llama.attention.head_count_kv": (U32, HEADS),
                "llama.rope.dimension_count": (U32, 4), "llama.rope.freq_base": (F32, 500.0), "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
                "tokenizer.ggml.model": (TEXT, "gpt2"), "tokenizer.ggml.pre": (TEXT, "smollm"), "tokenizer.ggml.tokens": (TEXT, TOKENS),
                "tokenizer.ggml.token_type": (I32, [1, 1, 1]), "tokenizer.ggml.merges": (TEXT, MERGES), "tokenizer.ggml.bos_token_id": (U32, 0),
                "tokenizer.ggml.eos_token_id": (U32, 1), "tokenizer.ggml.unknown_token_id": (U32, 2), "general.alignment": (U32, 32)}
        self.put("keys", "Q", len(keys))
        for key, (kind, value) in keys.items():
            self.text(f"{key} (name)", key)
            self.put(f"{key} (type)", "I", ARRAY if isinstance(value, list) else kind)
            if isinstance(value, list):
                self.put(f"{key} (inner type)", "I", kind)
                self.put(f"{key} (count)", "Q", len(value))
            for number, one in enumerate(value if isinstance(value, list) else [value]):
                self.value(f"{key} {number}", kind, one)
        offset, data = 0, bytearray()
        for name, shape in SHAPES.items():
            values = self.of(name)
            self.text(f"{name} (name)", name)
            self.put(f"{name} (dimensions)", "I", len(shape))
            for number, side in enumerate(shape[::-1]):
                self.put(f"{name} (side {number})", "Q", side)
            self.put(f"{name} (type)", "I", 0)
            self.put(f"{name} (offset)", "Q", offset)
            data += values.tobytes() + bytes(-values.nbytes % 32)
            offset = len(data)
        self.content += bytes(-len(self.content) % 32) + data

    @staticmethod
    def of(name):
        """The values of a tensor, which bfloat16 has."""
        shape = SHAPES[name]
        return (np.arange(np.prod(shape), dtype=np.float32) % 64 + list(SHAPES).index(name)).reshape(shape).astype("<f4")

    def put(self, name, form, value):
        self.fields[name] = (len(self.content), form)
        self.content += struct.pack(f"<{form}", value)

    def text(self, name, value):
        self.put(f"{name} length", "Q", len(value.encode()))
        self.put(name, f"{len(value.encode())}s", value.encode())

    def value(self, name, kind, value):
        self.text(name, value) if kind == TEXT else self.put(name, {U32: "I", F32: "f", I32: "i"}[kind], value)

    def changed(self, name, value):
        offset, form = self.fields[name]
        content = bytearray(self.content)
        struct.pack_into(f"<{form}", content, offset, value)
        return content


WRITTEN = Written()


def lies(form, value):
    if form == "Q":
        return [*GIANT_64, value + 1, max(0, value - 1)]
    if form in "Ii":
        return [one - 2**32 if form == "i" and one >= 2**31 else one for one in (*GIANT, value + 1, max(0, value - 1), *range(14), 39)]
    if form == "f":
        return [0.0, -1.0, float("nan"), float("inf"), -float("inf")]
    size = len(value)
    return [bytes(size), b"\xff" * size, b"\n" * size, b"\x1b" * size, b"/" * size, value[::-1]]


MUTATIONS = [(name, lie) for name, (offset, form) in WRITTEN.fields.items() for lie in lies(form, struct.unpack_from(f"<{form}", WRITTEN.content, offset)[0])]


def imported(folder, content):
    """Returns the folder that the file becomes, or None where it is refused, which must be in one line and leave nothing."""
    file, out = folder / "model.gguf", folder / "model"
    file.write_bytes(content)
    try:
        import_gguf.import_gguf(file, out)
    except BadInput as error:
        assert str(error) and printable(str(error)).isprintable() and len(str(error)) < 1000
        assert [path.name for path in folder.iterdir()] == ["model.gguf"]
        return None
    return out


def assert_right(out):
    """What was imported is what the file says: values of the tensors, and sizes that are theirs."""
    weights = {name: bits.view("<u2").astype("<u4") << 16 for name, bits in load_raw(out / "model.safetensors").items()}
    for name in ("attn_v", "ffn_down"):  # a norm in half as many bytes leaves a gap that padding, too, could be
        target = f"model.layers.0.{import_gguf.BLOCK_TENSORS[name]}.weight"
        np.testing.assert_array_equal(weights[target].view("<f4"), Written.of(f"blk.0.{name}.weight"))
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"], config["vocab_size"]) == (HIDDEN, INNER, 1, 3)
    assert 0 < config["rms_norm_eps"] < float("inf") and 0 < config["rope_theta"] < float("inf")
    assert 0 <= config["bos_token_id"] < 3 and 0 <= config["eos_token_id"] < 3


def load_raw(path):
    """The bits of a file of bfloat16, which NumPy has not."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    return {name: np.frombuffer(content[8 + size:][slice(*entry["data_offsets"])], "<u2").reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def test_the_file_that_is_changed_here_is_imported_as_it_is(tmp_path):
    out = imported(tmp_path, WRITTEN.content)
    assert_right(out)
    bits = load_raw(out / "model.safetensors")
    assert bits["model.layers.0.self_attn.q_proj.weight"].shape == (8, 8) and len(bits) == len(SHAPES)


def test_a_file_that_changes_while_it_is_read_is_one_line(tmp_path, monkeypatch):
    """Weights of before beside those of after, under the hash of either."""
    file, record = tmp_path / "model.gguf", import_gguf.record
    file.write_bytes(Written().content)

    def change_and_record(*arguments):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        return record(*arguments)

    monkeypatch.setattr(import_gguf, "record", change_and_record)
    with pytest.raises(BadInput, match="^model.gguf: changed while it was read; run again once nothing writes to it$"):
        import_gguf.import_gguf(file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [file]


def test_every_lie_in_the_header_is_one_line_or_harmless(tmp_path):
    refused = 0
    for number, (name, lie) in enumerate(MUTATIONS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            out = imported(folder, WRITTEN.changed(name, lie))
            if out is None:
                refused += 1
            else:
                assert_right(out)
        except Exception as error:
            raise AssertionError(f"{name} = {lie!r}: {type(error).__name__}: {error}") from error
    assert refused > 0.8 * len(MUTATIONS)


def test_a_file_cut_anywhere_is_one_line(tmp_path):
    for size in [*range(0, len(WRITTEN.content) - 32, 7)]:
        folder = tmp_path / str(size)
        folder.mkdir()
        assert imported(folder, WRITTEN.content[:size]) is None, size


@pytest.mark.parametrize(("name", "lie", "said"), [
    ("tensors", 2**63, "tensor"), ("keys", 2**63, "end behind the file"), ("version", 9, "GGUF version 9 is not supported"),
    ("magic", b"GGML", "does not begin with GGUF"), ("llama.block_count 0", 2**32 - 1, "'llama.block_count' is 4294967295, not a size"),
    ("llama.block_count 0", 10**6, "and the file has 11 tensors"), ("tokenizer.ggml.tokens (count)", 2**63, "end behind the file"),
    ("tokenizer.ggml.tokens 0 length", 2**64 - 1, "end behind the file"), ("tokenizer.ggml.bos_token_id 0", 3, "the 3 tokens are counted from 0"),
    ("llama.attention.head_count 0", 0, "not a size"), ("llama.rope.freq_base 0", float("nan"), "is nan, not a number above 0"),
    ("blk.0.attn_k.weight (offset)", 96, "lies on tensor"), ("blk.0.attn_k.weight (offset)", 97, "no multiple of 32"),
    ("blk.0.attn_k.weight (offset)", 2**63, "belong to none"), ("blk.0.ffn_norm.weight (offset)", 2**63, "ends behind the file"), ("blk.0.attn_k.weight (type)", 99, "which GGUF does not have"),
    ("blk.0.attn_k.weight (dimensions)", 2**31, "dimensions, not 1 to 4"), ("blk.0.attn_k.weight (side 1)", 2**61, "ends behind the file"),
    ("general.alignment 0", 24, "not a power of two"), ("general.architecture 0", b"\x1b[2J\n", "architecture '\\x1b[2J\\n'")])
def test_a_lie_is_named_by_the_script_itself(run_script, tmp_path, name, lie, said):
    (tmp_path / "model.gguf").write_bytes(WRITTEN.changed(name, lie))
    process = run_script("import_gguf.py", tmp_path / "model.gguf", tmp_path / "model")
    assert process.returncode == 1 and process.stdout == ""
    assert said in process.stderr and process.stderr.count("\n") == 1 and process.stderr.removesuffix("\n").isprintable(), process.stderr


def test_no_lie_takes_memory_that_the_file_has_not(tmp_path):
    """Under a limit of address space a little above what is in use, any allocation by a lied length would be a MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (256 << 20), before[1]))
    try:
        test_every_lie_in_the_header_is_one_line_or_harmless(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
