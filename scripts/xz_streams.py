"""An xz file of several streams, read whole."""
import io
import lzma


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
