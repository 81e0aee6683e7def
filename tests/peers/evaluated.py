"""A small checkpoint evaluated by the program, and by transformers as the judge."""
import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
import xxhash
import yaml
from transformers import AutoModelForCausalLM

from checkpoints import TOKENIZER
from support.program import write_token_file

LENGTH, DOCUMENTS = 256, 2


@dataclass
class Evaluated:
    """A call of the program on random texts, each longer than a window."""
    process: CompletedProcess
    folder: Path
    results: Path
    texts: dict  # {id: tokens}
    windows: dict

    def nll(self):
        """The summed NLL of each text's window."""
        assert self.process.returncode == 0, self.process.stderr
        with open(next(self.results.glob("cells/*/windows.csv")), encoding="utf-8") as file:
            return [float(row["nll_sum"]) for row in csv.DictReader(file)]

    def assert_as_transformers(self, folder=None):
        """The program's NLL within 1e-6 of it is that of transformers on the folder, or another one."""
        assert self.nll() == pytest.approx(transformers_nll(folder or self.folder, self.texts, self.windows), rel=1e-6)


def transformers_nll(folder, texts, windows):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    sums = []
    for tokens in texts.values():
        window = torch.tensor([([1] + tokens if windows["bos"] else tokens)[: windows["length"]]])
        with torch.inference_mode():
            logits = model(window).logits[0, :-1].double()
        sums.append(torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item())
    return sums


def evaluate_with(run, tmp_path):
    """evaluate(verb, folder, changes) -> Evaluated; `changes`: {"block.key" or "block": value} of the experiment."""

    def start(verb, folder, changes=None):
        chance = random.Random(0)
        texts = {f"d{i}": [chance.randrange(3, TOKENIZER) for _ in range(LENGTH)] for i in range(DOCUMENTS)}
        write_token_file(tmp_path / "texts.tok", xxhash.xxh3_128_hexdigest((folder / "tokenizer.json").read_bytes()), texts,
                         json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"])
        experiment = {"model": {"path": str(folder), "dtype": "float32", "device": "cpu"}, "data": {"path": str(tmp_path / "texts.tok")},
                      "windows": {"length": LENGTH, "stride": LENGTH, "truncate": True, "bos": True}}
        for path, value in (changes or {}).items():
            block, _, key = path.partition(".")
            experiment[block] = experiment.get(block, {}) | {key: value} if key else value
        file = tmp_path / "evaluated.yaml"
        file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
        results = tmp_path / f"results-{folder.name}"
        arguments = ["--results", results] if verb == "run" else []
        return Evaluated(run(verb, file, *arguments), folder, results, texts, experiment["windows"])

    return start
