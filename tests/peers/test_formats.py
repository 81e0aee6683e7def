"""Fake-quantized weights against bitsandbytes (nf4, fp4, af4) and ml_dtypes (fp8, mx, nvfp4): SmolLM2's and random ones, bit for bit.
Equal values in a block mean equal codes and an equal absmax: the largest magnitude decodes to the absmax, and codes decode to distinct values."""
import bitsandbytes.functional as bnb
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import model_folder

PROJECTIONS = ["layers.0.self_attn.q_proj", "layers.11.self_attn.k_proj", "layers.17.mlp.down_proj", "layers.29.mlp.up_proj"]


# bitsandbytes compiles one of its decoders, which takes half a minute.
torch.compiler.set_stance("force_eager")


def random_weights():
    generator = torch.Generator().manual_seed(20)
    normal = torch.randn(96, 256, generator=generator) * 0.03
    heavy = normal / torch.rand(96, 256, generator=generator)
    zeros = normal.clone()
    zeros[3] = 0
    zeros[7, 64:128] = 0
    return {"normal": normal, "heavy-tailed": heavy, "zero blocks": zeros, "tiny": normal * 2.0**-100, "large": normal * 2.0**90,
            "one weight": torch.nn.functional.pad(torch.tensor([[0.3]]), (0, 255, 0, 95))}


@pytest.fixture(scope="module")
def smollm2_weights():
    tensors = load_file(model_folder("smollm2-135m") / "model.safetensors")
    return {name: tensors[f"model.{name}.weight"].float() for name in PROJECTIONS}


def assert_equal(found, weights, expect):
    for name, weight in weights.items():
        expected = expect(weight)
        different = int((found[name] != expected).sum())
        assert different == 0, f"{name}: {different} of {weight.numel()} weights differ"


def bnb_4bit(weight, block, kind, double_quant=False):
    """quantize_4bit and back, of one long row: its AVX-512 decoder misplaces blocks that cross rows.  compress_statistics is spelled out, since the search in the 8-bit map of bitsandbytes' float32 CPU code is
    approximate; float64 takes its exact one, which is that of its GPU code too."""
    packed, state = bnb.quantize_4bit(weight.reshape(1, -1), blocksize=block, quant_type=kind)
    if double_quant:
        table = bnb.create_dynamic_map()
        offset = state.absmax.mean()
        codes, absmax = torch.ops.bitsandbytes.quantize_blockwise.default((state.absmax - offset).double(), table, 256)
        state.absmax = bnb.dequantize_blockwise(codes, absmax=absmax, code=table, blocksize=256) + offset
    return bnb.dequantize_4bit(packed, state).view(weight.shape)


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("block", [32, 64, 256, 4096])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_code_books_equal_bitsandbytes(fake_quantize, smollm2_weights, kind, block, double_quant):
    weights = random_weights() | smollm2_weights
    found = fake_quantize(weights, f"{{type: {kind}, block: {block}, double_quant: {str(double_quant).lower()}}}")
    assert_equal(found, weights, lambda weight: bnb_4bit(weight, block, kind, double_quant))


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_the_last_block_of_code_books_may_be_short(fake_quantize, kind):
    # bitsandbytes' CPU code divides here where its GPU code and ours multiply by the reciprocal: a weight within rounding of a threshold
    # could differ, and none of these does.
    weights = {"short": random_weights()["normal"][:43, :97].clone(), "shorter than a block": torch.tensor([[0.1, -0.3, 0.0]])}
    found = fake_quantize(weights, f"{{type: {kind}}}")
    assert_equal(found, weights, lambda weight: bnb_4bit(weight, 64, kind))


def test_double_quantization_is_near_what_bitsandbytes_does_on_a_cpu(fake_quantize, smollm2_weights):
    found = fake_quantize(smollm2_weights, "{type: nf4, double_quant: true}")
    for name, weight in smollm2_weights.items():
        packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
        # The approximate search takes a neighbouring value of the map for some 0.2 % of the blocks.
        assert (bnb.dequantize_4bit(packed, state) == found[name]).double().mean() > 0.98


def test_af4_equals_the_table_of_bitsandbytes(fake_quantize, smollm2_weights):
    # The package has the table and, by now, no quantizer for it.
    weights = random_weights() | smollm2_weights
    codes = bnb.get_4bit_type("af4", device="cpu", blocksize=64).flip(0)

    def expect(weight):
        blocks = weight.view(-1, 64)
        absmax = blocks.abs().amax(1, keepdim=True)
        nearest = torch.bucketize(blocks * (1 / absmax.clamp(min=1e-38)), (codes[:-1] + codes[1:]) / 2)
        return (codes[nearest] * absmax).view(weight.shape)

    assert_equal(fake_quantize(weights, "{type: af4}"), weights, expect)


# dtype of ml_dtypes, its largest value, the exponent of that.
E2M1 = (ml_dtypes.float4_e2m1fn, 6.0, 2)
E2M3 = (ml_dtypes.float6_e2m3fn, 7.5, 2)
E3M2 = (ml_dtypes.float6_e3m2fn, 28.0, 4)
E4M3 = (ml_dtypes.float8_e4m3fn, 448.0, 8)
E5M2 = (ml_dtypes.float8_e5m2, 57344.0, 15)


def rounded(x, form):
    """x (float32 array) on the grid of the format, saturating."""
    dtype, largest, _ = form
    return np.clip(x, -np.float32(largest), np.float32(largest)).astype(dtype).astype(np.float32)


def without_zeros(scale):
    return np.where(scale == 0, np.float32(1), scale)


@pytest.mark.parametrize(("name", "form"), [("e4m3", E4M3), ("e5m2", E5M2)])
@pytest.mark.parametrize("group", [-1, 0, 64])
def test_fp8_equals_ml_dtypes(fake_quantize, smollm2_weights, name, form, group):
    def expect(weight):
        groups = weight.numpy().reshape(weight.numel() // group if group > 0 else weight.shape[0] if group == 0 else 1, -1)
        scale = without_zeros(np.abs(groups).max(1, keepdims=True) / np.float32(form[1]))
        return torch.from_numpy(rounded(groups / scale, form) * scale).view(weight.shape)

    weights = random_weights() | smollm2_weights
    assert_equal(fake_quantize(weights, f"{{type: fp8, format: {name}, group: {group}}}"), weights, expect)


@pytest.mark.parametrize(("quantizer", "form"), [
    ("{type: mxfp4}", E2M1), ("{type: mxfp6, format: e2m3}", E2M3), ("{type: mxfp6, format: e3m2}", E3M2),
    ("{type: mxfp8, format: e4m3}", E4M3), ("{type: mxfp8, format: e5m2}", E5M2)])
def test_mx_formats_equal_ml_dtypes(fake_quantize, smollm2_weights, quantizer, form):
    def expect(weight):
        blocks = weight.numpy().reshape(-1, 32)
        absmax = np.abs(blocks).max(1, keepdims=True)
        exponent = np.frexp(without_zeros(absmax))[1] - 1 - form[2]
        scale = np.ldexp(1.0, np.clip(exponent, -127, 127)).astype(ml_dtypes.float8_e8m0fnu).astype(np.float32)
        return torch.from_numpy(rounded(blocks / scale, form) * scale).view(weight.shape)

    weights = random_weights() | smollm2_weights | {"subnormal": random_weights()["normal"] * 2.0**-128}
    assert_equal(fake_quantize(weights, quantizer), weights, expect)


@pytest.mark.parametrize("global_scale", ["tensor", "token"])
def test_nvfp4_equals_ml_dtypes(fake_quantize, smollm2_weights, global_scale):
    def expect(weight):
        blocks = weight.numpy().reshape(1 if global_scale == "tensor" else weight.shape[0], -1, 16)
        absmax = np.abs(blocks).max(2, keepdims=True)
        outer = without_zeros(absmax.max(1, keepdims=True) / np.float32(6 * 448))
        scale = rounded(absmax / np.float32(6) / outer, E4M3) * outer
        return torch.from_numpy(rounded(blocks / without_zeros(scale), E2M1) * scale).view(weight.shape)

    weights = random_weights() | smollm2_weights
    assert_equal(fake_quantize(weights, f"{{type: nvfp4, global_scale: {global_scale}}}"), weights, expect)
