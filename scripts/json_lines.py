"""Reads and writes JSON lines for the scripts that make data files: an error in a file is one line that names its place, and a file is written
completely or not at all."""
import codecs
import glob
import gzip
import io
import json
import logging
import lzma
import math
import os
import re
import signal
import sys
import zlib

MOST_LINE = 1 << 26  # bytes of a line, whose objects take a multiple of it in memory
MOST_EXPANSION = 100  # of a packed file; texts are packed to a third or a tenth
HUB = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
KINDS = {str: "a text", list: "a list", dict: "an object", bool: "true or false"}


class BadInput(Exception):
    """One line that says what is wrong."""


class XzStreams(io.RawIOBase):
    """What all streams of an xz file unpack to.  lzma.open() takes one behind the first that it cannot read, or one behind padding, for the file's end."""

    def __init__(self, path):
        self.file, self.stream, self.packed = open(path, "rb"), lzma.LZMADecompressor(), b""

    def readable(self):
        return True

    def readinto(self, into):
        unpacked = b""
        while not unpacked:
            if not self.packed and (self.stream is None or self.stream.needs_input):
                self.packed = self.file.read(1 << 16)
                if not self.packed and self.stream is None:
                    return 0
                if not self.packed:
                    raise EOFError("it ends within a stream")
            if self.stream is None:
                self.packed = self.packed.lstrip(b"\0")  # padding
                self.stream = lzma.LZMADecompressor() if self.packed else None
                continue
            unpacked, self.packed = self.stream.decompress(self.packed, len(into)), b""
            if self.stream.eof:
                self.packed, self.stream = self.stream.unused_data, None
        into[:len(unpacked)] = unpacked
        return len(unpacked)

    def close(self):
        self.file.close()
        super().close()


OPENERS = {".jsonl": open, ".jsonl.xz": lambda path, _: io.BufferedReader(XzStreams(path)), ".jsonl.gz": gzip.open}


def stop_in_one_line(script):
    """Has Ctrl-C and SIGTERM end the script by an exception, so that what is half-written goes, and with one line."""
    def stop(number, _):
        print(f"{script}: interrupted; nothing half-written is left, run it again", file=sys.stderr)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def of_the_system(error, out):
    """Returns a line about an OSError, which names no file where `out` could not be written to its end."""
    return f"{error.filename or out}: {error.strerror or error}; see that it can be read or written, and that there is room"


def packed_lines(path, opener):
    """Yields the lines of a file, packed or not; neither a line nor what the file unpacks to may be without bounds."""
    if not path.is_file():
        raise BadInput(f"{path}: is no file" if path.exists() else f"{path}: no such file")
    total, most = 0, math.inf if opener is open else max(MOST_LINE, MOST_EXPANSION * path.stat().st_size)
    try:
        with opener(path, "rb") as file:
            while line := file.readline(MOST_LINE + 1):
                total += len(line)
                if len(line) > MOST_LINE:
                    raise BadInput(f"{path}: has a line of more than {MOST_LINE} bytes; is it JSON lines?")
                if total > most:
                    raise BadInput(f"{path}: unpacks to more than {MOST_EXPANSION} times its size; unpack it yourself if it is to be so large")
                yield line
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); fetch it again") from error


def read_rows(path):
    """Yields (file:line, line, object) for every line that is not blank."""
    opener = next((opener for ending, opener in OPENERS.items() if path.name.endswith(ending)), None)
    if opener is None:
        raise BadInput(f"{path}: has an unsupported file type; give a {', '.join(OPENERS)} file")
    for number, line in enumerate(packed_lines(path, opener), start=1):
        place = f"{path}:{number}"
        text = decoded(place, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
        if text.strip():
            yield place, text, parsed(place, text)


def read_text(path):
    """Returns a text without a byte order mark and with untranslated line ends, as the program reads it."""
    if path.exists() and not path.is_file():
        raise BadInput(f"{path}: is no file")
    return decoded(path, path.read_bytes().removeprefix(codecs.BOM_UTF8))


def decoded(place, content):
    """Returns the bytes decoded as UTF-8; rejects NUL, which no text contains."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{place}: the byte {content[error.start]:#04x} at offset {error.start} is no UTF-8; convert it with iconv") from error
    if "\0" in text:
        raise BadInput(f"{place}: the byte 0x00 at offset {content.index(0)} is no text; convert it with iconv, from UTF-16 if it is that")
    return text


def finite(text):
    """Returns a number of JSON, which has neither NaN nor Infinity, and none that overflows."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def each_once(pairs, twice):
    """Returns {key: value} of pairs; raises the error twice(key) where a key stands twice: one reader takes the first, another the last."""
    found = {}
    for key, value in pairs:
        if key in found:
            raise twice(key)
        found[key] = value
    return found


def members(pairs):
    return each_once(pairs, lambda key: ValueError(f"the key {shortened(key)} stands twice"))


def from_json(text):
    """Returns the value of JSON; a ValueError says what is none."""
    return json.loads(text, parse_float=finite, parse_constant=finite, object_pairs_hook=members)


def parsed(place, line):
    try:
        row = from_json(line)
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}:{error.colno}: broken JSON ({error.msg}); every line is one object") from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, thousands of brackets
        raise BadInput(f"{place}: cannot be read ({error}); every line is one object") from error
    if not isinstance(row, dict):
        raise BadInput(f"{place}: no JSON object; every line is one")
    return row


def hub_rows(**where):
    """Yields (place, row) of a split on the Hugging Face hub; where: load_dataset's arguments."""
    from datasets import load_dataset  # takes seconds, and local copies do not need it

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
    name = where["path"] if "data_files" not in where else "".join(where["data_files"].values())
    try:
        for number, row in enumerate(load_dataset(**where, streaming=True), start=1):
            yield f"{name}:{number}", row
    except Exception as error:  # datasets raises no more specific exception
        told = str(error).partition("\n")[0]
        raise BadInput(f"{name}: cannot be fetched ({told}); fetch a copy where there is a network and read it with --source") from error


def field(place, row, name, kind=str):
    """Returns a required field of the given kind."""
    if name not in row:
        raise BadInput(f'{place}: no "{name}"; give every line one')
    value = row[name]
    if not isinstance(value, kind):
        raise BadInput(f'{place}: "{name}" is {shortened(value)}, not {KINDS[kind]}')
    return whole(place, name, value) if kind is str else value


def is_whole(text):
    """Returns whether a text can be written as UTF-8: it holds no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def whole(place, name, text):
    """Returns a text that can be written as UTF-8."""
    if not is_whole(text):
        raise BadInput(f'{place}: "{name}" holds half of a surrogate pair, which is no character; correct its \\u escapes')
    return text


def id_of(place, row, otherwise):
    """Returns the id, which may also be a number."""
    value = row.get("id")
    if value is None:
        return otherwise
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else field(place, row, "id")


def words_in(text):
    """Counts words as lm-evaluation-harness does (lm_eval/tasks/wikitext/preprocess_wikitext.py)."""
    return len(re.split(r"\s+", text))


def printable(text):
    """Returns a line in which characters that move a cursor, end a line or hide others are escaped."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def shortened(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of somebody else
    return True


def write_atomically(path, parts):
    """Writes the parts, of bytes, and returns their number; the file changes only when all are written.  A link in its place or in that of its
    temporary name is replaced and not followed; what a process that was killed left of the file is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        process = other.name.removeprefix(f"{path.name}.").removesuffix(".tmp")
        if process.isdecimal() and not runs(int(process)):
            other.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    count = 0
    try:
        with open(temporary, "xb") as file:
            for count, part in enumerate(parts, start=1):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count
