"""Scripts that write data and models, stopped before they are through, on a disk without room, and with names that are no text: one line, and nothing
half-written is left."""
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import gguf_models
from checkpoints import save_llama
from support.program import REPO, assert_one_line, litter

# The script, which finds no end of the last thing it does: giving what is written its name.
STALLED = ("import pathlib, runpy, sys, time; pathlib.Path.rename = lambda *_: time.sleep(60); sys.argv = sys.argv[1:]\n"
           "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')")


@pytest.fixture(params=["prepare_data.py", "prepare_bench.py", "tokenize_texts.py", "import_gguf.py", "import_checkpoint"])
def command(request, tmp_path):
    """A script and what it needs to write into the folder `out`, which holds nothing else."""
    script, out = request.param, tmp_path / "out"
    out.mkdir()
    texts, model = tmp_path / "texts.jsonl", tmp_path / "model"
    texts.write_text("".join(json.dumps({"id": str(k), "text": "Some words. " * 40}) + "\n" for k in range(40)), encoding="utf-8")
    questions = tmp_path / "boolq.jsonl"
    asked = {"question": "is it", "passage": "It is. " * 300, "answer": True, "label": 1}
    questions.write_text("".join(json.dumps(asked) + "\n" for _ in range(20)), encoding="utf-8")
    if script == "import_gguf.py":
        gguf_models.write(tmp_path / "model.gguf")
    if script in ("import_checkpoint", "tokenize_texts.py"):
        save_llama(model)
    if script == "import_checkpoint":
        torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
        (model / "model.safetensors").unlink()
    arguments = {"prepare_data.py": ["pg19", out / "pg19.jsonl", "--source", texts], "prepare_bench.py": ["boolq", "--source", questions, "--out", out],
                 "tokenize_texts.py": [model, texts, out / "texts.tok"], "import_gguf.py": [tmp_path / "model.gguf", out / "model"],
                 "import_checkpoint": [model, out / "model"]}[script]
    return [str(REPO / "scripts" / script), *map(str, arguments)]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_script_that_is_stopped_leaves_nothing(command, tmp_path, number, code):
    with subprocess.Popen([sys.executable, "-c", STALLED, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if process.poll() is not None or litter(tmp_path / "out"):
                break
            time.sleep(0.1)
        assert litter(tmp_path / "out"), process.communicate()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    name = command[0].rpartition("/")[2].removesuffix(".py")
    assert process.returncode == code and out == "" and err == f"{name}: interrupted; nothing half-written is left, run it again\n"
    assert not list((tmp_path / "out").iterdir())


def test_a_signal_right_behind_the_making_of_a_folder_leaves_none(tmp_path):
    gguf_models.write(tmp_path / "model.gguf")
    at_once = STALLED.replace("pathlib.Path.rename = lambda *_: time.sleep(60)",
                              "make = pathlib.Path.mkdir; pathlib.Path.mkdir = lambda *a, **k: (make(*a, **k), __import__('signal').raise_signal(15))")
    process = subprocess.run([sys.executable, "-c", at_once, REPO / "scripts/import_gguf.py", tmp_path / "model.gguf", tmp_path / "out"],
                             capture_output=True, text=True, check=False)
    assert process.returncode == 143 and sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf"], process.stderr


def test_what_a_killed_process_of_the_same_number_left_is_no_part_of_an_import(tmp_path):
    left = tmp_path / f"out.{os.getpid()}.tmp"
    left.mkdir()
    (left / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    gguf_models.imported(tmp_path)
    assert not left.exists() and not (tmp_path / "out/model.safetensors.index.json").exists()


def test_a_signal_while_torch_is_imported_is_one_line():
    at_once = ("import builtins, runpy, signal, sys; real = builtins.__import__\n"
               "builtins.__import__ = lambda name, *rest: signal.raise_signal(2) if name == 'torch' else real(name, *rest)\n"
               "sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')")
    process = subprocess.run([sys.executable, "-c", at_once, REPO / "scripts/import_checkpoint"], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (130, "import_checkpoint: interrupted; nothing half-written is left, run it again\n")


def test_a_disk_without_room_is_one_line_that_names_what_is_written(command, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    process = subprocess.run([sys.executable, *command], preexec_fn=limit, capture_output=True, text=True, timeout=120, check=False)
    assert_one_line(process, f"{tmp_path}/out", "File too large" if "import_checkpoint" not in command[0] else "too large", "that there is room")
    assert not list((tmp_path / "out").iterdir())


def test_a_text_whose_name_is_no_text_is_refused(tmp_path):
    save_llama(tmp_path / "model")
    text = tmp_path / "t\udcff.txt"
    text.write_text("Some words.", encoding="utf-8")
    command = [sys.executable, REPO / "scripts/tokenize_texts.py", tmp_path / "model", text, tmp_path / "out.tok"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert_one_line(process, "tokenize_texts: ", "t\\udcff.txt: its name", "rename it")
    assert not (tmp_path / "out.tok").exists()
