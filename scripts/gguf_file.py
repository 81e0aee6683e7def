"""Reads GGUF files that nobody vouches for: every count, length, type and offset is compared with the file before anything is made of it.

The package gguf has a reader, too, but it takes a file's word: texts that end behind the file are cut, sizes overflow, tensors may lie on each
other.  The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
import hashlib
import math
import os
import stat
import struct
from dataclasses import dataclass

import gguf
import numpy as np

from json_lines import BadInput, each_once

Value, Type = gguf.GGUFValueType, gguf.GGMLQuantizationType
SCALARS = {Value.UINT8: "<u1", Value.INT8: "<i1", Value.UINT16: "<u2", Value.INT16: "<i2", Value.UINT32: "<u4", Value.INT32: "<i4", Value.UINT64: "<u8",
           Value.INT64: "<i8", Value.FLOAT32: "<f4", Value.FLOAT64: "<f8", Value.BOOL: "?"}
MOST_METADATA = 1 << 26  # bytes before the tensors; a vocabulary of 256,000 tokens takes 10 MB
MOST_DIMENSIONS = 4


class Header:
    """What stands before the tensors, read in order."""

    def __init__(self, content, end):
        self.content, self.end, self.at = memoryview(content), end, 0

    def take(self, count, what):
        if count > len(self.content) - self.at:
            raise BadInput(f"not a readable GGUF file ({what}: {count} bytes at byte {self.at} end behind {self.end})")
        self.at += count
        return self.content[self.at - count:self.at]

    def number(self, form, what):
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form), what))[0]

    def text(self, what):
        content = self.take(self.number("Q", what), what)
        try:
            return str(content, encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"not a readable GGUF file ({what}: the byte {content[error.start]:#04x} is no UTF-8)") from error

    def one_of(self, kinds, what):
        number = self.number("I", what)
        try:
            return kinds(number)
        except ValueError as error:
            raise BadInput(f"{what} is of type {number}, which GGUF does not have; is the file damaged?") from error

    def value(self, kind, what):
        if kind == Value.STRING:
            return self.text(what)
        if kind != Value.ARRAY:
            return np.frombuffer(self.take(np.dtype(SCALARS[kind]).itemsize, what), SCALARS[kind]).item()
        inner, count = self.one_of(Value, what), self.number("Q", what)
        if inner == Value.ARRAY:
            raise BadInput(f"{what} is an array of arrays, which is not supported")
        if inner == Value.STRING:
            return [self.text(what) for _ in range(count)]
        return np.frombuffer(self.take(count * np.dtype(SCALARS[inner]).itemsize, what), SCALARS[inner])


@dataclass
class Tensor:
    name: str
    kind: Type
    shape: tuple
    offset: int
    row_bytes: int

    @property
    def rows(self):
        return math.prod(self.shape[:-1])

    @property
    def size(self):
        return self.rows * self.row_bytes


def read_tensor(header):
    """Returns what the header says of the next tensor, with the offset that it says."""
    name = header.text("a tensor's name")
    what = f"tensor '{name}'"
    dimensions = header.number("I", what)
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise BadInput(f"{what} has {dimensions} dimensions, not 1 to {MOST_DIMENSIONS}")
    shape = tuple(header.number("Q", what) for _ in range(dimensions))[::-1]
    if 0 in shape:
        raise BadInput(f"{what} has the shape {shape}; no side can be 0")
    kind = header.one_of(Type, what)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    if shape[-1] % values:
        raise BadInput(f"{what} has rows of {shape[-1]}, which are no blocks of {values}, as {kind.name} has them")
    return Tensor(name, kind, shape, header.number("Q", what), shape[-1] // values * size)


def by_name(entries, kind):
    """Returns {name: entry} of (name, entry) pairs."""
    return each_once(entries, lambda name: BadInput(f"{kind} '{name}' is there twice"))


def placed(tensors, begin, size, alignment):
    """Moves offsets from the beginning of the tensors' part to that of the file, which the tensors must fill: a wrong alignment shifts them all."""
    last, end = None, begin
    for tensor in sorted(tensors, key=lambda one: one.offset):
        if tensor.offset % alignment:
            raise BadInput(f"tensor '{tensor.name}' begins at {tensor.offset}, which is no multiple of {alignment}")
        tensor.offset += begin
        if tensor.offset + tensor.size > size:
            raise BadInput(f"tensor '{tensor.name}' of {tensor.size} bytes at {tensor.offset} ends behind the file, which has {size}; is it whole?")
        if tensor.offset < end:
            raise BadInput(f"tensor '{tensor.name}' lies on tensor '{last.name}'; is the file damaged?")
        if tensor.offset - end >= alignment:
            raise BadInput(f"{tensor.offset - end} bytes before tensor '{tensor.name}' belong to none; is the file damaged?")
        last, end = tensor, tensor.offset + tensor.size
    if size - end >= alignment:
        raise BadInput(f"{size - end} bytes behind the last tensor belong to none; is the file damaged?")


class GgufFile:
    """An open file: metadata by key, and which of them were asked for (gguf_fields.py); tensors by name."""

    def __init__(self, path):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadInput("is no file")  # opening a FIFO would wait for ever
        self.file, self.asked = open(path, "rb"), set()
        try:
            self.read_header(os.fstat(self.file.fileno()).st_size)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def read_header(self, size):
        header = Header(self.file.read(MOST_METADATA), "the file" if size <= MOST_METADATA else f"the first {MOST_METADATA} bytes; no model has so much metadata")
        if header.take(4, "its first bytes") != b"GGUF":
            raise BadInput("not a readable GGUF file (it does not begin with GGUF)")
        version = header.number("I", "the version")
        if version not in (2, 3):
            raise BadInput(f"GGUF version {version} is not supported; 2 and 3, little-endian, are")
        count, keys = header.number("Q", "the number of tensors"), header.number("Q", "the number of metadata keys")
        self.fields = by_name(((key := header.text("a metadata key"), header.value(header.one_of(Value, f"metadata key '{key}'"), f"metadata key '{key}'"))
                               for _ in range(keys)), "metadata key")
        self.tensors = by_name(((tensor.name, tensor) for tensor in (read_tensor(header) for _ in range(count))), "tensor")
        alignment = self.fields.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise BadInput(f"metadata key 'general.alignment' is {alignment}, not a power of two")
        placed(self.tensors.values(), -(-header.at // alignment) * alignment, size, alignment)

    def hash(self):
        """Returns the SHA-256 of the file, as sha256sum does."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()

    def read(self, tensor, begin, end):
        """Returns rows of a tensor in float32."""
        self.file.seek(tensor.offset + begin * tensor.row_bytes)
        content = np.fromfile(self.file, np.uint8, (end - begin) * tensor.row_bytes)
        if content.size != (end - begin) * tensor.row_bytes:
            raise BadInput(f"tensor '{tensor.name}': the file was cut while it was read")
        try:
            with np.errstate(all="ignore"):  # what is no number is found later
                return gguf.dequantize(content.reshape(-1, tensor.row_bytes), tensor.kind).astype(np.float32, copy=False)
        except NotImplementedError as error:
            raise BadInput(f"tensor '{tensor.name}' is of type {tensor.kind.name}, which is not supported") from error
