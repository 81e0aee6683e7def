#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""The same texts tokenized by qroar and by Hugging Face's tokenizers, on one core each: the tokens must be the same, and CPU seconds.

usage: bench/compare_tokenizers.py TEXT.txt... [--family llama3] [--family qwen3] [--binary build/release/bench/tokenizer_bench]

The families are those of tests/peers/test_tokenizer_families.py with a real vocabulary (llama_models, dashscope and mistral_common of PyPI).
Each side takes the best of three; tokenizers is given the text whole, and in parts of 100 KB, of which the faster counts.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
import numpy as np  # noqa: E402
import xxhash  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "tests/peers"), str(REPO / "tests")]
from test_tokenizer_families import REAL, from_ranks, packaged  # noqa: E402

PART = 100_000


def best_of_three(action):
    seconds = []
    for _ in range(3):
        start = time.process_time()
        result = action()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--family", action="append", choices=REAL)
    parser.add_argument("--binary", default=str(REPO / "build/release/bench/tokenizer_bench"))
    options = parser.parse_args()
    print(f"{'family':18} {'text':18} {'MB':>6} {'tokens':>8} {'seconds':>8} {'tokenizers':>10} {'ratio':>6}")
    for name in options.family or ["llama3", "qwen3"]:
        family, ranks, package, path = REAL[name]
        with tempfile.TemporaryDirectory() as folder:
            from_ranks(ranks(packaged(package, path)), family).save(f"{folder}/tokenizer.json")
            tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
            tokenizer.encode_special_tokens = True
            for file in options.texts:
                process = subprocess.run([options.binary, folder, file], capture_output=True, text=True, check=True)
                size, count, seconds, found = process.stdout.split()
                text = file.read_bytes().decode()
                whole, ids = best_of_three(lambda text=text: tokenizer.encode(text, add_special_tokens=False).ids)
                parts = [text[i:i + PART] for i in range(0, len(text), PART)]
                cut, _ = best_of_three(lambda parts=parts: tokenizer.encode_batch_fast(parts, add_special_tokens=False))
                assert xxhash.xxh3_128_hexdigest(np.array(ids, dtype="<i4").tobytes()) == found, f"{name}, {file}: other tokens"
                theirs = min(whole, cut)
                print(f"{name:18} {file.name:18} {int(size) / 1e6:6.1f} {count:>8} {float(seconds):8.3f} {theirs:10.3f} {theirs / float(seconds):6.1f}", flush=True)


if __name__ == "__main__":
    main()
