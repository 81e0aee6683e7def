"""A folder that appears when it is whole.  Needs no torch, which scripts/import_gguf.py does without."""
import atexit
import os
import shutil
from contextlib import contextmanager

from json_lines import BadInput, is_whole


def check_utf8(path):
    """Refuses a path that is no UTF-8: safetensors opens no file there, and imported.json could not name it."""
    if not is_whole(str(path)):
        raise BadInput(f"the path {path} is no UTF-8; rename it")


@contextmanager
def made_whole(out):
    """Gives a temporary folder beside `out`, which becomes `out` at the end, or vanishes."""
    check_utf8(out)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)  # a signal may come behind mkdir() and before `try`
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed and had the same number, as the first one of each container has
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
