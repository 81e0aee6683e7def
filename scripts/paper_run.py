"""Runs the cells of a target, here or as jobs of Slurm, and makes its folder one of results; scripts/paper calls it."""
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from paper_sizes import REPO, CannotMake, read_yaml
from reporting.build import write
from reporting.rows import planned_cells

HERE = Path(__file__).resolve().parent
ASKED_TO_STOP = 75


def program():
    named = os.environ.get("QROAR_BINARY")
    found = [Path(named)] if named else sorted(REPO.glob("build/*/qroar"), key=lambda path: path.stat().st_mtime)
    if not found or not found[-1].is_file():
        raise CannotMake(f"no program{f' at {named}' if named else ''}; run scripts/build, or name one in QROAR_BINARY")
    return found[-1].resolve()


def call(command, what, **options):
    """Runs a command and returns its process; one line about a failure, behind what the command itself says."""
    process = subprocess.run(command, cwd=REPO, encoding="utf-8", check=False, **options)
    if process.returncode == ASKED_TO_STOP:
        sys.exit(ASKED_TO_STOP)
    if process.returncode != 0:
        said = (process.stderr or "").strip().splitlines() or [f"exit code {process.returncode}, see above"]
        raise CannotMake(f"{what}: {said[-1]}")
    return process


def words_of(options):
    try:
        return shlex.split(options)
    except ValueError as error:
        raise CannotMake(f"--slurm {options!r}: {str(error).lower()}") from error


def submit(experiment, runs, options, before):
    """Submits a target's cells behind the job `before`, and returns its own job: targets share cells, which two jobs at once would compute twice."""
    after = [*([] if "--" in options else ["--"]), f"--dependency=afterany:{before}"] if before else []
    command = [HERE / "slurm/submit", experiment, "--results", runs, *options, *after]
    process = call(command, f"{experiment.stem}: not submitted", env=os.environ | {"QROAR_BINARY": str(program())}, stdout=subprocess.PIPE)
    print(process.stdout, end="", flush=True)
    job = re.match(r"job (\d+)", process.stdout)
    return job[1] if job else before  # no job where every cell is finished


def runs_of(folder):
    """Returns the results folder in which a target's cells run.  Targets share cells, so each keeps its plan and claims apart, in run/, and all cells are in
    one place."""
    runs = folder / "run"
    runs.mkdir(parents=True, exist_ok=True)
    (folder.parent / "cells").mkdir(exist_ok=True)
    if not (runs / "cells").is_symlink():
        (runs / "cells").symlink_to("../../cells")
    return runs


def run(experiment, folder, arguments, before):
    """Runs the cells that are not finished.  run/finished.yaml is the experiment that plan and cells belong to, once all of it has run.  Returns the job
    behind which the next target runs."""
    runs = runs_of(folder)
    (runs / "finished.yaml").unlink(missing_ok=True)
    if arguments.slurm is not None:
        return submit(experiment, runs, words_of(arguments.slurm), before)
    devices = ["--devices", arguments.devices] if arguments.devices else []
    call([program(), "run", experiment, "--results", runs, *devices], f"{experiment.stem}: not every cell finished", stdout=subprocess.DEVNULL)
    write(runs / "finished.yaml", experiment.read_text(encoding="utf-8"))
    return None


def is_finished(row):
    try:
        return json.loads(row.read_text(encoding="utf-8"))["status"] == "ok"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False  # no row, or a damaged one: the program runs the cell again


def show_cells(folder, experiment):
    """Makes the target's folder a results folder of the cells of its plan; CannotMake says why the target is not finished."""
    again = f"call scripts/paper with {folder.name}"
    finished = folder / "run/finished.yaml"
    if not (folder / "run/plan.json").is_file():
        raise CannotMake(f"{folder.name} has not run; {again}")
    if not finished.is_file() or read_yaml(finished) != yaml.safe_load(experiment):
        raise CannotMake(f"{folder.name} is not finished with this model and these sizes; {again}")
    try:
        planned = planned_cells(folder / "run")
    except ValueError as error:
        raise CannotMake(str(error)) from error
    if (folder / "cells").is_symlink():
        raise CannotMake(f"{folder / 'cells'} is a link, which is not followed; remove it")
    (folder / "cells").mkdir(exist_ok=True)
    for old in (folder / "cells").iterdir():
        if old.is_symlink():
            old.unlink()
    for cell in planned:
        (folder / "cells" / cell).symlink_to(f"../../cells/{cell}")
    write(folder / "plan.json", (folder / "run/plan.json").read_text(encoding="utf-8"))
    left = [cell for cell in planned if not is_finished(folder / "cells" / cell / "row.json")]
    if left:
        raise CannotMake(f"{folder.name}: {len(left)} of {len(planned)} cells failed or have no row ({left[0]} ...); {again}")
