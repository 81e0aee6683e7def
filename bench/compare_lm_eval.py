#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""The same multiple-choice questions asked by qroar and by lm-evaluation-harness (PyPI: lm-eval): choices one by one, and time.

usage: QROAR_DATA=... bench/compare_lm_eval.py MODEL_FOLDER [--tasks hellaswag,piqa] [--questions 300] [--shots 0] [--dtype bfloat16]
                                               [--threads N] [--batch-size 8] [--binary build/release/qroar]

Timed is the asking, after the model is loaded; for the harness with log_samples and without bootstrap.  A question counts as the same where both
sides are right or both wrong, by acc and by acc_norm.  Quote ratios: times on shared machines drift.
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from one_cell import one_cell

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))
from support.lm_eval_peer import TASKS, ask, load, write_bench, write_tasks  # noqa: E402
from support.program import read_csv  # noqa: E402


def ask_qroar(options, name, file):
    """[(right, right by acc_norm)] and seconds."""
    (task,) = yaml.safe_load((REPO / f"configs/tasks/{name}.yaml").read_text(encoding="utf-8"))["tasks"]
    experiment = {"model": {"path": os.path.abspath(options.model), "dtype": options.dtype, "device": "cpu"}, "windows": {"length": 2048},
                  "tasks": [task | {"path": str(file), "shots": options.shots}]}
    with one_cell(options.binary, experiment, options.threads) as (row, cell):
        lines = read_csv((cell / f"tasks/{name}.csv").read_text(encoding="utf-8"))
    return [(line["choice"] == line["label"], line["choice_norm"] == line["label"]) for line in lines], row["seconds"]


def ask_lm_eval(options, name, file, folder):
    tasks = folder / f"{name}-tasks"
    write_tasks({name: file}, tasks, options.shots)
    load(os.path.abspath(options.model), options.dtype, options.batch_size, options.threads)
    start = time.perf_counter()
    answers = ask(os.path.abspath(options.model), tasks, options.dtype, options.batch_size, options.threads)[name]
    seconds = time.perf_counter() - start
    # The harness asks the first questions, too, and shows them the next ones; those after them see the very first, as here.
    asked = answers[options.shots:]
    return [(bool(acc), bool(acc_norm)) for _, acc, acc_norm in asked], seconds * len(asked) / len(answers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--shots", type=int, default=0, help="questions with their answers before each; they are asked by the harness alone")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--binary", default=str(REPO / "build/release/qroar"))
    options = parser.parse_args()
    print(f"{options.model}, {options.dtype}, {options.threads} threads, lm-eval's batches of {options.batch_size}")
    print(f"{'task':14} {'acc':>12} {'lm-eval':>8} {'same':>7} {'acc_norm':>9} {'lm-eval':>8} {'same':>7} {'seconds':>8} {'lm-eval':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_bench(os.environ["QROAR_DATA"], folder, options.questions + options.shots)
        for name in options.tasks.split(","):
            ours, seconds = ask_qroar(options, name, files[name])
            theirs, their_seconds = ask_lm_eval(options, name, files[name], folder)
            count = len(ours)
            assert count == len(theirs)
            cells = []
            for k in (0, 1):
                shares = [sum(side[k] for side in both) / count for both in (ours, theirs)]
                cells += [*shares, sum(a[k] == b[k] for a, b in zip(ours, theirs)) / count]
            if name == "winogrande":  # has no acc_norm
                cells[3:] = [float("nan")] * 3
            print(f"{name:14} {cells[0]:12.4f} {cells[1]:8.4f} {cells[2]:7.2%} {cells[3]:9.4f} {cells[4]:8.4f} {cells[5]:7.2%} "
                  f"{seconds:8.1f} {their_seconds:8.1f} {their_seconds / seconds:6.2f}", flush=True)


if __name__ == "__main__":
    main()
