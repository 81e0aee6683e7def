"""Writes the plain folder: tensors into shards, config.json without the quantization, and what goes along unchanged."""
import json
import shutil

from safetensors import SafetensorError
from safetensors.torch import save_file

from importing.layer import spelled
from json_lines import BadInput

SAYS = ("quantization_config", "compression_config")  # where config.json has how weights are quantized; the latter in older files
MOST_SHARD = 1 << 30  # bytes; a tensor that is larger has a shard of its own


class Shards:
    """The tensors of a folder, of which those of one shard are in memory."""

    def __init__(self, folder):
        self.folder, self.held, self.size, self.total, self.paths, self.names = folder, {}, 0, 0, [], []

    def add(self, place, name, tensor, dtype):
        """Takes a tensor in a dtype, or its own where that is None."""
        kept = tensor.to(dtype or tensor.dtype).contiguous().clone()  # a view would keep what it looks at
        if not kept.isfinite().all():
            raise BadInput(f"{place} holds NaN or infinity, or what is infinity in {spelled(kept.dtype)}")
        size = kept.numel() * kept.element_size()
        if self.held and self.size + size > MOST_SHARD:
            self.flush()
        self.held[name] = kept
        self.size, self.total = self.size + size, self.total + size

    def flush(self):
        self.paths.append(self.folder / f"{len(self.paths)}.safetensors")
        try:
            save_file(self.held, self.paths[-1], metadata={"format": "pt"})
        except SafetensorError as error:
            raise BadInput(f"{self.paths[-1]} cannot be written ({error}); see that there is room") from error
        self.paths[-1].chmod(self.folder.stat().st_mode & 0o666)  # safetensors lets nobody else read it
        self.names.append(list(self.held))
        self.held, self.size = {}, 0

    def finish(self):
        """Writes what is left, gives the files their names, and writes the index of several."""
        self.flush()
        if len(self.paths) == 1:
            self.paths[0].rename(self.folder / "model.safetensors")
            return
        where = {}
        for number, (path, names) in enumerate(zip(self.paths, self.names), start=1):
            called = f"model-{number:05d}-of-{len(self.paths):05d}.safetensors"
            path.rename(self.folder / called)
            where |= dict.fromkeys(names, called)
        write_object(self.folder / "model.safetensors.index.json", {"metadata": {"total_size": self.total}, "weight_map": where})


def write_object(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_config(folder, config, dtype):
    """Writes config.json for weights in a dtype; None leaves what it says of that."""
    plain = {key: value for key, value in config.items() if key not in SAYS}
    if dtype is not None:
        plain["dtype" if "dtype" in plain else "torch_dtype"] = spelled(dtype)
    write_object(folder / "config.json", plain)


def copy_along(source, folder):
    for path in source.along:
        shutil.copyfile(path, folder / path.name)
