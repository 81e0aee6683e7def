"""Small quantized checkpoints as the field's tools write them: by the tools themselves where they run on a CPU, else by the definition of the format.

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
        return write(source, folder, {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric, "desc_act": act_order, "checkpoint_format": form} | more, change)

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


def compressed(form, weights, inputs=None, dtype=torch.float32, status="compressed"):
    """compressed-tensors' own compressor; what it decompresses with scales in float32 is the weight."""

    def make(source, folder):
        from compressed_tensors.compressors.base import BaseCompressor
        from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
        from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
        from compressed_tensors.quantization.lifecycle.forward import fake_quantize
        from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights), input_activations=inputs and QuantizationArgs(**inputs))
        args, compressor = scheme.weights, BaseCompressor.get_value_from_registry(form)

        def change(layer, weight):
            rows, columns = weight.shape
            block = {"tensor": (rows, columns), "channel": (1, columns), "block": args.block_structure}.get(args.strategy, (1, args.group_size))
            each = weight.unflatten(1, (-1, block[1])).unflatten(0, (-1, block[0]))
            low, high = each.amin((1, 3)), each.amax((1, 3))
            total = generate_gparam(low.min(), high.max()).reshape(1) if args.strategy == "tensor_group" else None
            scale, zero = calculate_qparams(low, high, args, total)
            scale = scale.to(dtype) if total is None and not form.startswith("mx") else scale
            shape = (1,) if args.strategy == "tensor" else scale.shape
            state = {"weight": weight, "weight_scale": scale.reshape(shape), "weight_zero_point": zero.reshape(shape).to(args.zp_dtype or torch.int8)}
            if total is not None:
                state["weight_global_scale"] = total
            if status == "frozen":
                return state, fake_quantize(weight, state["weight_scale"], state["weight_zero_point"], args)
            stored = compressor.compress(dict(state), scheme)
            if total is not None:  # the package itself rounds these scales to bfloat16
                codes = unpack_fp4_from_uint8(stored["weight_packed"], rows, columns, torch.float32)
                return stored, codes * (stored["weight_scale"].float() / total).repeat_interleave(block[1], 1)
            whole = {part: value.float() if part == "weight_scale" and value.dtype == torch.bfloat16 else value for part, value in stored.items()}
            return stored, compressor.decompress(whole, scheme)["weight"].float()

        config = QuantizationConfig(config_groups={"group_0": scheme}, format=form, quantization_status=status, ignore=["lm_head"]).to_dict()
        return write(source, folder, config, change)

    return make


def compressed_act_order(source, folder):
    """W4A16 with weight_g_idx, which newer releases of the package neither write nor read."""

    def change(layer, weight):
        index = torch.arange(weight.shape[1])[torch.randperm(weight.shape[1])] // 32
        codes, scale, zero = rounded(weight, 4, index)
        zeros = packed(zero.T, 4).T  # along the outputs
        parts = {"weight_packed": packed(codes, 4), "weight_scale": scale, "weight_zero_point": zeros, "weight_g_idx": index.int(), "weight_shape": torch.tensor(weight.shape)}
        return parts, (codes - zero[:, index]).float() * scale[:, index]

    torch.manual_seed(1)
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32, "actorder": "group"}
    return write(source, folder, {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
                                  "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}, change)


def hqq(bits, group, axis, dtype=HALF, as_float=False):
    def make(source, folder):
        from hqq.core.quantize import BaseQuantizeConfig, HQQLinear, Quantizer

        def change(layer, weight):
            linear = torch.nn.Linear(*weight.shape[::-1], bias=False)
            linear.weight.data = weight.clone()
            made = HQQLinear(linear, BaseQuantizeConfig(bits, group, axis=axis, view_as_float=as_float), compute_dtype=dtype, device="cpu")
            meta = made.meta | {"compute_dtype": torch.float32, "scale": made.meta["scale"].float(), "zero": made.meta["zero"].float()}
            return made.state_dict(), Quantizer.dequantize(made.W_q.data, meta)

        params = {"nbits": bits, "group_size": group, "axis": axis}
        return write(source, folder, {"quant_method": "hqq", "quant_config": {"weight_quant_params": params, "scale_quant_params": None, "zero_quant_params": None},
                                      "skip_modules": ["lm_head"]}, change)

    return make


def bits_and_bytes(**options):
    """bitsandbytes through transformers; the weights are what the package itself dequantizes to float32."""

    def make(source, folder):
        import bitsandbytes
        import transformers

        config = transformers.BitsAndBytesConfig(**options, bnb_4bit_compute_dtype=torch.float32)
        model = transformers.AutoModelForCausalLM.from_pretrained(source, quantization_config=config, device_map="cpu", dtype=torch.float32)
        model.save_pretrained(folder)
        shutil.copy(source / "tokenizer.json", folder)
        weights = {}
        for name, layer in model.named_modules():
            if isinstance(layer, bitsandbytes.nn.Linear4bit):
                weights[name] = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            elif isinstance(layer, bitsandbytes.nn.Linear8bitLt):
                weights[name] = bitsandbytes.functional.int8_vectorwise_dequant(layer.weight.data, layer.weight.SCB)
        return weights

    return make


def torch_ao(config, dtype=torch.bfloat16):
    """torchao through transformers; config: a function that gives its configuration."""

    def make(source, folder):
        import transformers

        model = transformers.AutoModelForCausalLM.from_pretrained(source, quantization_config=transformers.TorchAoConfig(config()), device_map="cpu", dtype=dtype)
        model.save_pretrained(folder)
        shutil.copy(source / "tokenizer.json", folder)
        weights = {}
        for name, layer in model.named_modules():
            weight = getattr(layer, "weight", None)
            if hasattr(weight, "qdata"):
                zero, block = getattr(weight, "zero_point", None), [own // count for own, count in zip(weight.qdata.shape, weight.scale.shape)]
                spread = [x if x is None else x.float().repeat_interleave(block[0], 0).repeat_interleave(block[1], 1) for x in (weight.scale, zero)]
                weights[name] = (weight.qdata.float() - (0 if zero is None else spread[1])) * spread[0]
        return weights

    return make


def torch_ao_int4(source, folder):
    """Int4Tensor, whose codes only a GPU's package makes; the weight is what torchao's GPTQ takes it to be."""
    from torchao.prototype.gptq.api import _int4_row_dequantize_zp
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Int4Tensor

    header = {}

    def change(layer, weight):
        codes, scale, zero = rounded(weight, 4, torch.arange(weight.shape[1]) // 32, dtype=torch.bfloat16)
        signed, zero = (codes - 8).to(torch.int8), ((8 - zero) * scale).to(torch.bfloat16)
        pairs = (signed[:, 1::2] << 4) | (signed[:, ::2] & 15)
        tensor = Int4Tensor(pairs, scale.T.contiguous().to(torch.bfloat16), zero.T.contiguous(), [1, 32], weight.shape)
        parts, metadata = flatten_tensor_state_dict({f"{layer}.weight": tensor})
        header.update(metadata)
        return ({name.removeprefix(f"{layer}."): part for name, part in parts.items()},
                _int4_row_dequantize_zp(signed, tensor.scale.float(), tensor.zero_point.float(), 32))

    return write(source, folder, {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}}, change, header)
