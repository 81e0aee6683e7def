"""A folder that appears when it is whole.  Needs no torch, which scripts/import_gguf.py does without."""
import os
import shutil
from contextlib import contextmanager


@contextmanager
def made_whole(out):
    """Gives a temporary folder beside `out`, which becomes `out` at the end, or vanishes."""
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
