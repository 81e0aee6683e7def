"""A cell of qroar in a process of its own, as the comparisons with peers measure it.  Needs the standard library alone: the machines that they
run on have little else."""
import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path


@contextlib.contextmanager
def one_cell(binary, experiment, threads=None, prefix=()):
    """(row, folder of the cell, which is gone afterwards) of an experiment of one cell; `prefix` starts the command."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(json.dumps(experiment))
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        subprocess.run([*prefix, binary, "run", file, "--results", folder], env=environment, capture_output=True, check=True)
        (row_file,) = Path(folder).glob("cells/*/row.json")
        yield json.loads(row_file.read_text()), row_file.parent
