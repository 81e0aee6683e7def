"""Small quantized checkpoints made by the field's packages, each imported where it is needed; see quantized.py."""
import shutil

import torch

from quantized import HALF, rounded, write


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
        config = {"weight_quant_params": params, "scale_quant_params": None, "zero_quant_params": None}
        return write(source, folder, {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]}, change)

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

        options = {"quantization_config": transformers.TorchAoConfig(config()), "device_map": "cpu", "dtype": dtype}
        model = transformers.AutoModelForCausalLM.from_pretrained(source, **options)
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
