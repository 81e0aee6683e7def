"""One quantized layer: its tensors by the rest of their names, each compared with what it has to be, and the arithmetic that formats share."""
import torch

from json_lines import BadInput

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
FLOAT8 = (torch.float8_e4m3fn,)
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def spelled(kind):
    return str(kind).removeprefix("torch.")


class Layer:
    """A layer by its name, {part: full name of the tensor}, and the bits that its weight, scales and zeros take."""

    def __init__(self, source, name, parts):
        self.source, self.name, self.parts, self.bits = source, name, parts, 0
        self.unread = dict.fromkeys(parts)

    def has(self, part):
        return part in self.parts

    def fail(self, part, problem):
        raise BadInput(f"{self.source.place(self.parts[part])} {problem}")

    def take(self, part, kinds, *shape, counted=True):
        """Returns a tensor that has to be of one of the dtypes and of the shape, where one is given; None is any length."""
        if part not in self.parts:
            name, there = f"{self.name}.{part}", next(iter(self.parts.values()))
            raise BadInput(f"{self.source.files[there].name}: tensor '{name}' is missing beside '{there}'; is the checkpoint whole?")
        tensor = self.source.read(self.parts[part])
        self.unread.pop(part, None)
        if tensor.dtype not in kinds:
            self.fail(part, f"is of {spelled(tensor.dtype)}, not {' or '.join(map(spelled, kinds))}; is config.json that of these weights?")
        if shape and (tensor.dim() != len(shape) or any(side not in (None, own) for side, own in zip(shape, tensor.shape))):
            wanted = tuple("any" if side is None else side for side in shape)
            self.fail(part, f"has shape {tuple(tensor.shape)}, expected {wanted}; is config.json that of these weights?".replace("'any'", "any"))
        if counted:
            self.bits += 8 * tensor.numel() * tensor.element_size()
        return tensor

    def check_all_read(self, form):
        """Refuses a tensor that the weight was made without, and that is not about inputs or outputs."""
        for part in self.unread:
            if part not in form.beside:
                self.fail(part, f"has no part in this weight of {form.method}; is config.json that of these weights?")

    def matrix(self, part, kinds):
        """Returns a weight in two dimensions, none of which is 0."""
        tensor = self.take(part, kinds, None, None)
        if not tensor.numel():
            self.fail(part, "is empty; fetch it again")
        return tensor

    def scales(self, part, *shape, kinds=FLOATS, counted=True):
        """Returns scales in float32; there is no weight where one is NaN or infinite."""
        return self.whole(part, self.take(part, kinds, *shape, counted=counted).float())

    def one(self, part):
        """Returns a scale of the whole layer, which is above 0."""
        values = self.scales(part, kinds=FLOATS[:1])
        if values.numel() != 1 or values <= 0:
            self.fail(part, f"is {values.flatten()[:2].tolist()}, not one number above 0; fetch it again")
        return values.reshape(())

    def whole(self, part, values):
        if not values.isfinite().all():
            self.fail(part, "holds NaN or infinity; fetch it again")
        return values

    def groups(self, part, columns, group):
        """Returns how many groups of inputs there are."""
        if columns % group:
            self.fail(part, f"has {columns} inputs, which is no multiple of the group size {group}; correct quantization_config in config.json")
        return columns // group

    def blocks(self, part, values, shape, block):
        """Returns one value for each weight from one for each block of rows and columns; blocks at the end may be smaller."""
        rows, columns = (-(-side // step) for side, step in zip(shape, block))
        if values.numel() != rows * columns or (values.dim() > 1 and tuple(values.shape) != (rows, columns)):
            self.fail(part, f"has shape {tuple(values.shape)}, expected {(rows, columns)}: one for {block[0]} x {block[1]} of {shape[0]} x {shape[1]} weights; "
                            "is config.json that of these weights?")
        values = values.reshape(rows, columns)
        if rows > 1:
            values = values.repeat_interleave(block[0], 0)[:shape[0]]
        return values.repeat_interleave(block[1], 1)[:, :shape[1]] if columns > 1 else values

    def group_index(self, part, columns, groups):
        """Returns the group of each input, which may be in any order."""
        index = self.take(part, (torch.int32, torch.int64), columns, counted=False).long()
        if not ((index >= 0) & (index < groups)).all():
            self.fail(part, f"names a group that is not one of the {groups} of {self.name}, which are counted from 0; fetch it again")
        return index


def unpacked(words, bits, count):
    """Returns the first `count` numbers of each row of int32: a row is a stream of `bits` each, from the lowest bit of its first word on."""
    words = torch.nn.functional.pad(words, (0, -words.shape[1] % bits)).unflatten(1, (-1, bits))  # 32 numbers take `bits` words
    begin = torch.arange(32, dtype=torch.int32) * bits
    word, low = begin // 32, begin % 32
    here = (32 - low).clamp(max=bits)  # how many bits of a number its first word has
    numbers = (words[..., word] >> low) & ((1 << here) - 1)
    if 32 % bits:
        numbers |= (words[..., (word + 1).clamp(max=bits - 1)] & ((1 << (bits - here)) - 1)) << here
    return numbers.flatten(1)[:, :count]


def float4(codes):
    """Returns the numbers of two e2m1 a byte, the lower four bits first, whose highest bit is the sign."""
    codes = torch.stack((codes & 15, codes >> 4), -1).flatten(1).int()
    return E2M1[codes & 7] * (1 - (codes >> 3) * 2)
