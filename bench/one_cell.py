"""A cell of qroar in a process of its own, as the comparisons with peers measure it.  Needs the standard library alone: the machines that they
run on have little else."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def output_of(command, environment=None):
    """What a command prints; ends with its errors where it fails."""
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return process.stdout if process.returncode == 0 else sys.exit(process.stderr)


@contextlib.contextmanager
def one_cell(binary, experiment, threads=None, prefix=()):
    """(row, folder of the cell, which is gone afterwards) of an experiment of one cell; `prefix` starts the command."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(json.dumps(experiment))
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        output_of([*prefix, binary, "run", file, "--results", folder], environment)
        (row_file,) = Path(folder).glob("cells/*/row.json")
        yield json.loads(row_file.read_text()), row_file.parent
