"""Small quantized checkpoints as the field's tools write them, made here by the definition of the format; quantized_by_tools.py has those of packages.

Every maker takes the folder of a plain checkpoint and one to write, and returns {layer: its weight in float32}, as the tool or the definition has it."""
import json
import shutil

import numpy as np
import torch
from safetensors.torch import load_file, save_file

HALF, FP8 = torch.float16, torch.float8_e4m3fn
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def write(source, folder, quantization, change, metadata=None):
    """Writes the checkpoint with config.json's quantization_config and what `change(layer, weight)` gives for every projection: its tensors by the rest
    of their names, and its weight; returns the weights."""
    folder.mkdir()
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | ({"quantization_config": quantization} if quantization else {})), encoding="utf-8")
    shutil.copy(source / "tokenizer.json", folder)
    tensors, weights = {}, {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if "_proj.weight" not in name:
            tensors[name] = tensor
            continue
        layer = name.removesuffix(".weight")
        parts, weights[layer] = change(layer, tensor.float())
        tensors |= {f"{layer}.{part}": value.contiguous().clone() for part, value in parts.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"} | (metadata or {}))
    return weights


def packed(codes, bits):
    """Returns rows of codes as int32, the lowest bits first."""
    each = (codes.numpy()[..., None] >> np.arange(bits)) & 1
    return torch.from_numpy(np.packbits(each.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder="little").view("<i4").copy())


def rounded(weight, bits, index, symmetric=False, dtype=HALF):
    """Returns codes, scales and zeros of a weight, for the groups that `index` gives each input."""
    low, high = (torch.stack([getattr(weight[:, index == group], end)(1) for group in range(int(index.max()) + 1)], 1) for end in ("amin", "amax"))
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).to(dtype).float()
    zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else (-low / scale).round()
    codes = ((weight / scale[:, index]).round() + zero[:, index]).clamp(0, 2**bits - 1)
    return codes.long(), scale, zero.long()


def gptq(bits=4, group=32, symmetric=True, act_order=False, form="gptq", **more):
    def make(source, folder):
        def change(layer, weight):
            columns = weight.shape[1]
            index = torch.arange(columns) // (group if group > 0 else columns)
            if act_order:
                index = index[torch.randperm(columns)]
            codes, scale, zero = rounded(weight, bits, index, symmetric)
            stored = (zero - (1 if form == "gptq" else 0)) & (2**bits - 1)
            parts = {"qweight": packed(codes, bits).T, "qzeros": packed(stored.T, bits), "scales": scale.T.to(HALF), "g_idx": index.int()}
            return parts, (codes - zero[:, index]).float() * scale[:, index]

        torch.manual_seed(1)
        options = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric, "desc_act": act_order, "checkpoint_format": form}
        return write(source, folder, options | more, change)

    return make


def awq(group=32, **more):
    def make(source, folder):
        def change(layer, weight):
            index = torch.arange(weight.shape[1]) // group
            codes, scale, zero = rounded(weight, 4, index)

            def in_order(rows):
                return packed(rows.reshape(len(rows), -1, 8)[..., list(AWQ_ORDER)].flatten(1), 4)

            return {"qweight": in_order(codes.T), "qzeros": in_order(zero.T), "scales": scale.T.to(HALF)}, (codes - zero[:, index]).float() * scale[:, index]

        return write(source, folder, {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True} | more, change)

    return make


def in_blocks(weight, block):
    """Returns the largest magnitude of each block, and how to spread one number a block."""
    rows, columns = block
    high = torch.nn.functional.pad(weight.abs(), (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows))
    high = high.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).amax((1, 3))
    return high, lambda x: x.repeat_interleave(rows, 0)[:weight.shape[0]].repeat_interleave(columns, 1)[:, :weight.shape[1]]


def fp8(method="fp8", over="tensor", name="weight_scale", more_parts=None, **options):
    """over: tensor, channel, or rows and columns of a block."""

    def make(source, folder):
        def change(layer, weight):
            block = {"tensor": weight.shape, "channel": (1, weight.shape[1])}.get(over, over)
            high, spread = in_blocks(weight, block)
            scale = high / 448
            if options.get("scale_fmt") == "ue8m0":
                scale = torch.exp2(scale.log2().ceil())
            codes = (weight / spread(scale)).to(FP8)
            stored = scale.to(torch.float8_e8m0fnu) if options.get("scale_fmt") == "ue8m0" else scale
            parts = {"weight": codes, name: stored.reshape(()) if over == "tensor" else stored} | {part: torch.ones(()) for part in more_parts or ()}
            return parts, codes.float() * spread(scale)

        return write(source, folder, {"quant_method": method} | options, change)

    return make


def modelopt_nvfp4(source, folder):
    def change(layer, weight):
        from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8

        high, spread = in_blocks(weight, (1, 16))
        total = high.max() / 448 / 6
        scale = (high / 6 / total).to(FP8)
        grid = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        found = weight / spread(scale.float() * total)
        codes = grid[(found.abs()[..., None] - grid).abs().argmin(-1)] * found.sign()
        return ({"weight": pack_fp4_to_uint8(codes), "weight_scale": scale, "weight_scale_2": total, "input_scale": torch.ones(())},
                codes * spread(scale.float() * total))

    return write(source, folder, {"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": None}, change)


def compressed_act_order(source, folder):
    """W4A16 with weight_g_idx, which newer releases of the package neither write nor read."""

    def change(layer, weight):
        index = torch.arange(weight.shape[1])[torch.randperm(weight.shape[1])] // 32
        codes, scale, zero = rounded(weight, 4, index)
        zeros = packed(zero.T, 4).T  # along the outputs
        parts = {"weight_packed": packed(codes, 4), "weight_scale": scale, "weight_zero_point": zeros, "weight_g_idx": index.int(),
                 "weight_shape": torch.tensor(weight.shape)}
        return parts, (codes - zero[:, index]).float() * scale[:, index]

    torch.manual_seed(1)
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32, "actorder": "group"}
    return write(source, folder, {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
                                  "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}, change)
