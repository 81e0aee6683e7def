"""Reads the folder of a checkpoint that nobody vouches for: config.json, and tensors by name, from safetensors or pickled files.

safetensors compares a file's header with the file before it takes memory; pickled files are loaded with weights_only, which runs no code of theirs.
Both are mapped, so that a tensor takes memory only while it is used."""
import hashlib
import json
import zipfile

import torch
from safetensors import SafetensorError, safe_open

from importing.seen import Seen
from importing.whole import check_utf8
from json_lines import BadInput, decoded, from_json, is_whole, shortened, whole

# The first that is there counts, as in transformers.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# How the names end of what old files carry along and the program computes, so that index and shards may disagree about it.
DERIVED = ("rotary_emb.inv_freq", "rotary_emb.original_inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", "causal_mask", "attn.masked_bias")
PIECE = 1 << 24  # bytes that are hashed at a time
ALONG = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
         "chat_template.jinja", "chat_template.json", "generation_config.json")


def read_object(path):
    """Returns the object that a file of JSON holds."""
    try:
        value = from_json(decoded(path.name, path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name}: cannot be read as JSON ({str(error)[:200]}); fetch it again") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path.name}: is {shortened(value)}, not an object; fetch it again")
    for key, own in value.items():
        whole(path.name, key, json.dumps([key, own], ensure_ascii=False))  # what is half a character cannot be written again
    return value


class Pickled:
    """A file of torch.save, with safe_open's methods."""

    def __init__(self, path):
        try:
            self.tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises any
            raise BadInput(f"{path.name}: holds more than plain tensors, or is damaged, and is not loaded ({type(error).__name__}); "
                           "convert it to safetensors where you trust it") from error
        named = isinstance(self.tensors, dict) and all(isinstance(name, str) and is_whole(name) for name in self.tensors)
        if not named or not all(type(tensor) is torch.Tensor for tensor in self.tensors.values()):
            raise BadInput(f"{path.name}: is no dictionary of tensors by name; save model.state_dict() alone")
        for name, tensor in self.tensors.items():
            if tensor.layout != torch.strided or tensor.device.type != "cpu":
                kind = "sparse" if tensor.device.type == "cpu" else "without values (meta)"
                raise BadInput(f"{path.name}: tensor '{name}' is {kind}; save it dense, from a model that is loaded whole")
            if tensor.nbytes > tensor.untyped_storage().nbytes():
                raise BadInput(f"{path.name}: tensor '{name}' of {tensor.nbytes} bytes holds {tensor.untyped_storage().nbytes()}, repeated; "
                               "save it with contiguous().clone()")

    def keys(self):
        return list(self.tensors)

    def get_tensor(self, name):
        return self.tensors[name]

    def metadata(self):
        return {}


class Source:
    """An open folder: `config`; `files`, {name of a tensor: its file}; `along`, the files that go along unchanged; `seen`, all that is read."""

    def __init__(self, folder):
        self.folder, self.opened, self.said, self.seen = folder, {}, [], Seen()
        if not (folder / "config.json").is_file():
            raise BadInput("has no config.json; give a Hugging Face folder" if folder.is_dir() else "is no folder; give a Hugging Face folder")
        if (folder / "adapter_config.json").exists():
            raise BadInput("holds an adapter (adapter_config.json), which would be lost; merge it into the weights, or move it away")
        check_utf8(folder.resolve())
        self.config = self.read_object("config.json")
        name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
        if name is None:
            raise BadInput(f"has none of {', '.join(WEIGHTS)}; fetch it whole, or give its one weight file such a name")
        self.along = [self.seen.add(folder / other) for other in ALONG if (folder / other).is_file()]
        self.pickled = name.startswith("pytorch_model")
        self.files = self.indexed(folder / name) if name.endswith(".index.json") else {tensor: folder / name for tensor in self.open(folder / name).keys()}

    def read_object(self, name):
        """Returns the object of a file that says what the weights are, for which it counts in hash()."""
        self.said.append(self.seen.add(self.folder / name))
        return read_object(self.said[-1])

    def indexed(self, path):
        """Returns {name of a tensor: its file} as an index has it, once all are there."""
        names = read_object(self.seen.add(path)).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise BadInput(f'{path.name}: "weight_map" is {shortened(names)}, not the files of tensors; fetch it again')
        listed = {}
        for tensor, file in names.items():
            if not isinstance(file, str) or "/" in file or not (self.folder / file).is_file():
                raise BadInput(f"{path.name}: tensor '{tensor}' is in {shortened(file)}, which is no file of the folder; fetch it")
            listed.setdefault(file, set()).add(tensor)
        held = {file: set(self.open(self.folder / file).keys()) for file in listed}
        for file, tensors in held.items():
            for tensor in sorted(tensors ^ listed[file]):
                if not tensor.endswith(DERIVED):
                    where = "is, too, in" if tensor in tensors else "is not in"
                    raise BadInput(f"{path.name}: tensor '{tensor}' {where} {file}, and the index says otherwise; fetch both again")
        return {tensor: self.folder / file for tensor, file in names.items() if tensor in held[file]}

    def open(self, path):
        if path not in self.opened:
            self.seen.add(path)
            try:
                self.opened[path] = Pickled(path) if path.suffix == ".bin" else safe_open(path, "pt")
            except SafetensorError as error:
                raise BadInput(f"{path.name}: no readable safetensors file ({error}); fetch it again") from error
        return self.opened[path]

    def place(self, name):
        return f"{self.files[name].name}: tensor '{name}'"

    def read(self, name):
        try:
            return self.open(self.files[name]).get_tensor(name)
        except SafetensorError as error:
            raise BadInput(f"{self.place(name)}: cannot be read ({error}); fetch it again") from error

    def metadata(self):
        """Returns what the headers of the weight files say beside the tensors."""
        return {key: value for path in sorted(set(self.files.values())) for key, value in (self.open(path).metadata() or {}).items()}

    def hash(self):
        """Returns the SHA-256 of config.json, of another file that says how weights are quantized, and of the weight files, each with its name and size
        before it, in order of their names."""
        total = hashlib.sha256()
        for path in sorted({*self.said, *self.files.values()}):
            total.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with open(path, "rb") as file:
                while piece := file.read(PIECE):
                    total.update(piece)
        return total.hexdigest()
