"""scripts/slurm/submit with words that would be commands: a shell that runs its batch scripts, and a real Slurm, take them literally or not at all."""
import json
import os
import subprocess
import sys

import pytest

from support.program import REPO

SUBMIT = REPO / "scripts/slurm/submit"
QUOTES = """ '; touch canary; ' "; touch canary; " """
HOSTILE = f"-n a  b $(touch canary)`touch canary`;touch canary;&& touch canary | touch canary #{QUOTES} $HOME ${{x}} * ~ % %a %% ! {{a,b}} é"
ESCAPES = HOSTILE + "\\ \\\\ \\' \\n $'\\n'"  # what a folder of results cannot have
# Says what it is called with; `pack` makes a folder as the program does.
STAND_IN = """#!{python} -I
import json, os, pathlib, shutil, sys
with open({heard!r}, "a", encoding="utf-8") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "pack":
    into = pathlib.Path(sys.argv[sys.argv.index("--into") + 1])
    into.mkdir(parents=True)
    shutil.copy(__file__, into / "qroar")
    (into / "tasks").write_text("cell\\n")
    print(into / os.path.basename(sys.argv[2]))
"""


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Place:
    """A folder with a program and a Python that say what they are called with, and an sbatch that takes everything."""

    def __init__(self, folder):
        self.folder, self.heard = folder, folder / "heard"
        self.program, self.venv = folder / "stand-in", folder / "venv"
        self.environment = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
        self.write(folder / "bin/sbatch", "#!/bin/sh\necho 7\n")

    @staticmethod
    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def submit(self, *arguments, cwd=None):
        stand_in = STAND_IN.format(python=sys.executable, heard=str(self.heard))
        self.write(self.program, stand_in)
        self.write(self.venv / "bin/python", stand_in)
        environment = self.environment | {"QROAR_BINARY": str(self.program), "QROAR_VENV": str(self.venv)}
        return subprocess.run([SUBMIT, *arguments], cwd=cwd or self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def run(self, results):
        """Runs the batch scripts of a submission and returns what was called: pack, the cells, what collects, the report."""
        for name in ("array", "collect"):
            (script,) = results.glob(f"submissions/*/{name}.sbatch")
            lines = script.read_text(encoding="utf-8").splitlines()
            assert all(line.startswith("#") or not line for line in lines[:next(number for number, line in enumerate(lines) if line.startswith("cd "))])
            process = subprocess.run(["bash", script], cwd=self.folder, env=self.environment | {"SLURM_ARRAY_TASK_ID": "1"}, capture_output=True, text=True,
                                     timeout=60, check=False)
            assert process.returncode == 0, process.stderr
            assert process.stderr == ""
        assert not list(self.folder.rglob("*canary"))
        return [json.loads(line) for line in self.heard.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("field", ["file", "results", "set", "partition", "time", "gpus", "option", "here", "program", "venv"])
def test_what_a_word_says_is_not_run_and_reaches_the_program_as_it_is(place, field):
    file, results, here = "./small.yaml", place.folder / "results", place.folder
    options = {"set": ["--set", f"a={ESCAPES}"], "option": ["--", f"--comment={ESCAPES}"]}.get(field, [])
    if field in ("partition", "time", "gpus"):
        options = [f"--{field}", ESCAPES]
    elif field == "file":
        file = f"./{ESCAPES}.yaml"
    elif field == "results":
        results = place.folder / HOSTILE
    elif field == "here":
        here = place.folder / ESCAPES
        here.mkdir()
    elif field == "program":
        place.program = place.folder / ESCAPES
    elif field == "venv":
        place.venv = place.folder / ESCAPES
    process = place.submit(file, "--results", results, *options, cwd=here)
    assert process.returncode == 0, process.stderr
    (folder,) = results.glob("submissions/*")
    overrides = options if field == "set" else []
    assert place.run(results) == [["pack", file, "--tasks", "1", "--results", str(results), "--into", str(folder), *overrides],
                                  ["run", f"{folder}/{file[2:]}", "--results", str(results), *overrides, "--only", "cell"],
                                  ["collect", str(results)], [f"{folder}/report/report.py", str(results)]]


@pytest.mark.parametrize("control", ["\n", "\r", "\t", "\x1b[2J", "\x7f", "\x9b"])
@pytest.mark.parametrize("field", ["file", "results", "set", "partition", "time", "gpus", "array", "option", "unknown", "here", "program", "venv", "link"])
def test_a_control_character_is_refused_in_one_line_and_nothing_is_written(place, field, control):
    word = f"a{control}touch canary{control}b"
    file, here, results = "small.yaml", place.folder, place.folder / "results"
    options = {"set": ["--set", f"a={word}"], "option": ["--", f"--comment={word}"], "unknown": [f"--{word}"]}.get(field, [])
    if field in ("partition", "time", "gpus", "array"):
        options = [f"--{field}", word]
    elif field == "file":
        file = f"{word}.yaml"
    elif field == "results":
        results = place.folder / word
    elif field == "here":
        here = place.folder / word
        here.mkdir()
    elif field in ("program", "venv"):
        setattr(place, field, place.folder / word)
    elif field == "link":
        results.symlink_to(word)
    process = place.submit(file, "--results", results, *options, cwd=here)
    assert process.returncode == 1 and process.stdout == ""
    assert process.stderr.count("\n") == 1 and process.stderr.startswith("submit: ") and "has a control character" in process.stderr
    assert process.stderr.removesuffix("\n").isprintable()
    assert not place.heard.exists() and not results.exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (["small.yaml", "--results", "a\\b"], "takes a backslash"),
    (["small.yaml", "--partition", "p" * 5000], "has 5000 bytes"),
    (["small.yaml", "--results", "linked"], "linked/submissions is a link, which is not followed")])
def test_what_sbatch_would_misread_and_a_link_are_refused(place, arguments, said):
    (place.folder / "linked").mkdir()
    (place.folder / "linked/submissions").symlink_to(place.folder / "elsewhere")
    process = place.submit(*arguments)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and said in process.stderr
    assert not place.heard.exists() and not (place.folder / "elsewhere").exists()


def test_sbatch_itself_reads_the_words_as_they_are(cluster, binary, token_cache, experiment, tmp_path):
    cluster.environment |= {"QROAR_BINARY": str(binary), "QROAR_CACHE": str(token_cache)}
    words = HOSTILE.replace("é", "")  # squeue of a test has no locale
    file, results = experiment({"sweep": None}, f"{words}.yaml"), tmp_path / words
    process = cluster.run(SUBMIT, file, "--results", results, "--set", "windows.length=48", "--partition", "main", "--", "--comment", ESCAPES, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    array, collect = (line.split()[1].rstrip(":;") for line in process.stdout.replace("; job", "\njob").splitlines()[:2])
    assert set(cluster.wait(array, 120).values()) == {"COMPLETED"}
    assert cluster.wait(collect, 120) == {collect: "COMPLETED"}
    for job, name in ((array, f"qroar-{words}"), (collect, f"qroar-{words}-collect")):
        assert cluster.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%j|||%k").stdout == f"{name}|||{ESCAPES}\n"
    (folder,) = results.glob("submissions/*")
    assert {"task-1.log", "collect.log"} <= {path.name for path in folder.iterdir()}
    assert not list(tmp_path.rglob("*canary"))
