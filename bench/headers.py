#!/usr/bin/env python3
"""How long a safetensors header of many tensors takes to read: the processor time of `qroar check` on tiny-books with that many tensors more than
its own, less that without them, medians of five.  The time of a linear reader doubles from line to line.
usage: headers.py [BUILD_FOLDER] (default: build/release)"""
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
MODEL = REPO / "configs/models/tiny-books"


def with_tensors(folder, count):
    """Links tiny-books into a folder, with a file that has `count` tensors more, of a kind that models leave behind and nobody reads."""
    for file in MODEL.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).symlink_to(file)
    content = (MODEL / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    for layer in range(count):
        begin = len(data) + 64 * layer
        header[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = {"dtype": "F32", "shape": [16], "data_offsets": [begin, begin + 64]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data + bytes(64 * count))


def seconds(binary, count):
    """The median processor time of a check."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        folder.mkdir()
        with_tensors(folder, count)
        experiment = {"model": {"path": str(folder), "dtype": "float32", "device": "cpu"}, "data": {"path": str(REPO / "tests/support/text.jsonl")},
                      "windows": {"length": 256}}
        file = Path(scratch, "bench.yaml")
        file.write_text(json.dumps(experiment), encoding="utf-8")
        times = []
        for _ in range(5):
            before = os.times()
            subprocess.run([binary, "check", file], stdout=subprocess.DEVNULL, check=True)
            after = os.times()
            times.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return statistics.median(times)


if __name__ == "__main__":
    qroar = REPO / (sys.argv[1] if len(sys.argv) > 1 else "build/release") / "qroar"
    without = seconds(qroar, 0)
    for tensors in (10_000, 20_000, 40_000, 80_000):
        print(f"{tensors:6} tensors: {seconds(qroar, tensors) - without:.2f} s")
