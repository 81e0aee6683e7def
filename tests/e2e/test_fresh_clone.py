"""What scripts say in a clone where scripts/setup has not run, and scripts/fetch_smollm2 in a clone of its own, which keeps a model that works."""
import os
import shutil
import subprocess

import pytest

from support.program import REPO

NEEDS_PACKAGES = sorted(path.relative_to(REPO) for folder in ("scripts", "bench") for path in (REPO / folder).iterdir()
                        if path.is_file() and path.open("rb").readline().startswith(b"#!/usr/bin/env -S sh"))


def said_by(*command, **environment):
    process = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False)
    return process.returncode, process.stderr


def test_scripts_that_need_packages_are_known():
    assert len(NEEDS_PACKAGES) >= 13


@pytest.mark.parametrize("script", [*NEEDS_PACKAGES, *(f"scripts/{name}" for name in ("fetch_smollm2", "long_texts", "short_texts"))], ids=str)
def test_a_script_without_its_packages_names_scripts_setup(script):
    code, said = said_by(REPO / script, QROAR_VENV="/nowhere")
    assert code == 1 and said.endswith("no /nowhere/bin/python; run scripts/setup\n") and said.count("\n") == 1


def test_an_environment_that_another_setup_was_killed_in_is_made_again(tmp_path):
    """Python itself is one that writes down what it is asked to do."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPO / "scripts/setup", tmp_path / "scripts")
    for name in ("requirements.txt", "cmake/fetched/requirements.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a==1\n", encoding="utf-8")
    python, venv, asked = tmp_path / "bin/python3", tmp_path / "venv", tmp_path / "asked"
    python.parent.mkdir()
    makes = f"mkdir -p {venv}/bin && ln -sf {python} {venv}/bin/python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n[ "$2" != venv ] || {{ {makes}; }}\n', encoding="utf-8")
    python.chmod(0o755)
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "QROAR_VENV": str(venv), "QROAR_FETCH_DEPS": "ON"}
    for killed, remade in ((False, False), (False, False), (True, True)):
        if killed:
            (venv / ".qroar-unfinished").touch()
            asked.unlink()
        code, said = said_by(tmp_path / "scripts/setup", **environment)
        assert code == 0 and not (venv / ".qroar-unfinished").exists(), said
        assert (f"-m venv --clear {venv}" in asked.read_text(encoding="utf-8")) == remade


def test_a_submission_without_a_python_for_its_report_is_refused(binary, experiment):
    code, said = said_by(REPO / "scripts/slurm/submit", experiment(), "--dry-run", QROAR_VENV="/nowhere", QROAR_BINARY=str(binary))
    assert code == 1 and said == "submit: no /nowhere/bin/python, which writes the report; run scripts/setup\n"


@pytest.mark.parametrize("importer, code, left", [("import sys; sys.exit('import_gguf: disk full')", 1, "old"),
                                                  ("import shutil, sys; shutil.copytree(sys.argv[1] + '.model', sys.argv[2])", 0, "new")])
def test_a_model_that_works_goes_once_the_new_one_is_whole(tmp_path, importer, code, left):
    venv, scripts, model = tmp_path / "venv/bin", tmp_path / "scripts", tmp_path / "models/smollm2-135m"
    for folder in (venv, scripts, model, tmp_path / "data/SmolLM2-135M-Instruct.Q4_1.gguf.model"):
        folder.mkdir(parents=True)
    (venv / "python").symlink_to(shutil.which("python3"))
    shutil.copy(REPO / "scripts/fetch_smollm2", scripts)
    (scripts / "fetch_texts").write_text("#!/bin/sh\n", encoding="utf-8")
    (scripts / "fetch_texts").chmod(0o755)
    (scripts / "tokenize_texts.py").write_text("", encoding="utf-8")
    (tmp_path / "data/SmolLM2-135M-Instruct.Q4_1.gguf").write_text("weights", encoding="utf-8")
    (model / "config.json").write_text("old", encoding="utf-8")
    (tmp_path / "data/SmolLM2-135M-Instruct.Q4_1.gguf.model/config.json").write_text("new", encoding="utf-8")
    os.utime(model / "config.json", (0, 0))
    (scripts / "gguf_file.py").write_text("", encoding="utf-8")
    (scripts / "import_gguf.py").write_text(importer, encoding="utf-8")
    assert said_by(scripts / "fetch_smollm2", QROAR_VENV=str(tmp_path / "venv"))[0] == code
    assert (model / "config.json").read_text(encoding="utf-8") == left
    assert {path.name for path in model.parent.iterdir()} == {model.name}
