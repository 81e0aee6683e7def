"""Whether files are still what they were when they were first read.  Needs no torch, which scripts/import_gguf.py does without."""
import hashlib
import os
import stat

from json_lines import BadInput

HEAD = 1 << 20  # bytes, in which small files and the headers of large ones lie


def identity(path):
    """Returns what a change of the file, or another in its place, does not leave as it was; None for what is no file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:  # anew, since NFS looks at the server only then
            state = os.fstat(file.fileno())
            return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, hashlib.sha256(file.read(HEAD)).digest()
    except OSError:
        return None


class Seen:
    """The files that were read, each as it was before."""

    def __init__(self):
        self.files = {}

    def add(self, path):
        """Is to be called before a file is read."""
        self.files.setdefault(path, identity(path))
        return path

    def check(self):
        for path, before in self.files.items():
            if identity(path) != before:
                raise BadInput(f"{path.name}: changed while it was read; run again once nothing writes to it")
