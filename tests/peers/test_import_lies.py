"""scripts/import_checkpoint on quantized checkpoints that lie: each is one line that names file and tensor or key."""
import json
import resource
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from checkpoints import add_tensors, change_tensors, in_order, set_fields
from import_edits import LAYER, MAKERS, changed, first, group_0, options, refused, with_metadata, without
from support.program import litter
from test_import_checkpoint import SCRIPT

from json_lines import BadInput, printable

NAN = float("nan")


def address_space():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def with_part(part, tensor):
    return with_metadata(lambda tensors: tensors | {f"{LAYER}.{part}": tensor})


LIES = [
    ("gptq", options(quant_method="exl3"), 'config.json: quantization_config.quant_method is "exl3", and only awq, gptq'),
    ("gptq", options(bits=5), "quantization_config.bits is 5, and only 2, 3, 4, 8"),
    ("gptq", options(bits=8), "down_proj.scales' has shape (8, 128), expected (4, 128)"),
    ("gptq", options(bits="4"), 'quantization_config.bits is "4", not a whole number'),
    ("gptq", options(bits=True), "bits is true, not a whole"),
    ("gptq", options(group_size=48), "down_proj.scales' has shape (8, 128), expected (6, 128)"),
    ("gptq", options(group_size=0), "group_size is 0, not a size"),
    ("gptq", options(checkpoint_format="marlin"), 'checkpoint_format is "marlin", and only gptq, gptq_v2'),
    ("awq", options(version=None, format="gemv_fast"), 'format is "gemv_fast", and only gemm'),
    ("fp8", options(scale_fmt="half"), 'scale_fmt is "half"'),
    ("gptq", options(dynamic={"+:.*down.*": {"bits": 8}}), "dynamic is"),
    ("gptq", set_fields(quantization_config=[4]), "quantization_config is [4], not an object"),
    ("gptq", changed("g_idx", first(4)), f"'{LAYER}.g_idx' names a group that is not one of the 4"),
    ("gptq", changed("g_idx", first(-1)), "names a group"),
    ("gptq", changed("g_idx", lambda x: x[1:]), f"'{LAYER}.g_idx' has shape (127,), expected (128,)"),
    ("gptq", changed("scales", first(NAN)), f"model.safetensors: tensor '{LAYER}.scales' holds NaN"),
    ("gptq", in_order(options(desc_act=True), without("g_idx")), f"'{LAYER}.g_idx' is missing"),
    ("act-order", without("weight_g_idx"), f"'{LAYER}.weight_g_idx' is missing"),
    ("gptq", add_tensors(self_attn__q_proj__weight=(128, 128)), f"g_idx' is of a quantized layer, and '{LAYER}.weight' is there, too"),
    ("gptq", lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter (adapter_config.json), which would be lost"),
    ("gptq", without("scales"), f"'{LAYER}.scales' is missing"),
    ("gptq", without("qweight"), f"'{LAYER}.qweight' is missing"),
    ("gptq", without("qzeros"), f"'{LAYER}.qzeros' is missing"),
    ("gptq", changed("qweight", lambda x: x.long()), "is of int64, not int32"),
    ("gptq", changed("qweight", lambda x: x[:, :64]), "has shape (4, 128), expected (4, 64)"),
    ("gptq", set_fields(num_key_value_heads=1), "k_proj.g_idx' belongs to a weight of shape (64, 128), and config.json says (32, 128)"),
    ("gptq", set_fields(quantization_config=...), f"config.json: has no quantization_config, and tensor '{LAYER.replace('self_attn.q', 'mlp.down')}.g_idx' is of"),
    ("gptq", in_order(set_fields(quantization_config=...), change_tensors(lambda tensors: {"model.norm.weight": tensors["model.norm.weight"]})),
     "the program reads this folder as it is"),
    ("awq", options(version="gemv"), 'version is "gemv", and only gemm'),
    ("awq", options(backend="llm-awq"), 'quantization_config.backend is "llm-awq", which has a layout of its own'),
    ("awq", options(zero_point=False), "zero_point is false"),
    ("awq", options(bits=3), "bits is 3"),
    ("awq", options(group_size=96), "has 256 inputs, which is no multiple of the group size 96"),
    ("awq", changed("scales", first(float("inf"))), "holds NaN or infinity"),
    ("packed", with_part("weight_global_scale", torch.ones(1)), f"'{LAYER}.weight_global_scale' has no part in this weight of compressed-tensors"),
    ("fp8", with_part("weight_scale_inv", torch.ones(1)), f"'{LAYER}.weight_scale' has no part in this weight of fp8"),
    ("nf4", with_part("SCB", torch.ones(128)), f"'{LAYER}.SCB' has no part in this weight of bitsandbytes"),
    ("packed", options(format="marlin-24"), 'format is "marlin-24"'),
    ("packed", options(transform_config={"a": 1}), "rotations run with the model"),
    ("packed", options(sparsity_config={"format": "sparse-24-bitmask"}), "sparsity_config.format is"),
    ("packed", group_0(num_bits=9), "weights.num_bits is 9"),
    ("packed", group_0(group_size=48), "down_proj.weight_packed' has 256 inputs, which is no multiple of the group size 48"),
    ("packed", group_0(num_bits=8), "which is not that of 8-bit codes"),
    ("packed", group_0(strategy="head"), 'weights.strategy is "head"'),
    ("packed", options(config_groups={"a": 4}), "config_groups.a is 4, not an object"),
    ("packed", options(config_groups={"a": {"targets": ["re:(a+)+$"], "weights": None}}), "repeats too much"),
    ("packed", options(config_groups={"a": {"targets": ["re:("], "weights": None}}), "is no regular expression"),
    ("packed", options(config_groups={"a": {"targets": ["Linear"], "weights": None}}), f"config_groups has no weights for {LAYER.replace('self_attn.q', 'mlp.down')}"),
    ("packed", changed("weight_shape", first(2**40)), "which is not that of 4-bit codes"),
    ("packed", changed("weight_shape", first(-1)), "which is not that"),
    ("packed", changed("weight_scale", lambda x: x[:, :1]), "expected (128, 4): one for 1 x 32 of 128 x 128 weights"),
    ("packed", without("weight_zero_point"), f"'{LAYER}.weight_zero_point' is missing"),
    ("packed", changed("weight_zero_point", lambda x: x[:-1]), "4-bit zeros of 128 rows"),
    ("act-order", changed("weight_g_idx", first(9)), "names a group that is not one of the 4"),
    ("nvfp4", changed("weight_global_scale", first(0)), "is [0.0], not one number above 0"),
    ("nvfp4", changed("weight_packed", lambda x: x[:, :60]), "120 inputs, which is no"),
    ("block", changed("weight_scale", lambda x: x.T), "has shape (2, 4), expected (4, 2)"),
    ("block", group_0(type="int"), "quantization_config says int"),
    ("block", group_0(block_structure=[32]), "not the rows and columns of a block"),
    ("fp8", options(weight_block_size=[0, 128]), "not the rows and columns"),
    ("fp8", options(activation_scheme="sometimes"), "activation_scheme is"),
    ("fp8", options(quant_method="fbgemm_fp8", activation_scale_ub="high"), 'activation_scale_ub is "high", not a number'),
    ("int8", options(llm_int8_threshold=10**400), "not a number below 1e30"),
    ("fp8", without("weight_scale"), f"'{LAYER}.weight' is of float8_e4m3fn, and fp8 has no scale"),
    ("fp8", changed("weight", first(NAN)), f"the weight of layer '{LAYER}' holds NaN"),
    ("fp8", changed("weight", lambda x: x[:0]), "is empty"),
    ("modelopt", options(quant_algo="W4A8_AWQ"), 'quant_algo is "W4A8_AWQ", and only FP8, NVFP4'),
    ("modelopt", without("weight_scale_2"), "weight_scale_2' is missing"),
    ("nf4", options(load_in_4bit=False), "load_in_4bit is false"),
    ("nf4", without("weight.quant_state.bitsandbytes__nf4"), "bitsandbytes__nf4' is missing"),
    ("nf4", changed("weight.quant_state.bitsandbytes__nf4", lambda x: x[1:]), "is no state of bitsandbytes"),
    ("nf4", without("weight.absmax"), "weight.absmax' is missing"),
    ("nf4", changed("weight", lambda x: x[1:]), "has 8191 bytes, and 128 x 128 codes"),
    ("nf4", changed("weight.nested_absmax", first(NAN)), "holds NaN"),
    ("int8", changed("SCB", lambda x: x[1:]), "SCB' has shape (127,), expected (128,)"),
    ("int8", changed("weight_format", first(1)), "is not 0 (rows)"),
    ("hqq", changed("packing", first(55)), "which does not go with its nbits"),
    ("hqq", changed("axis", first(2)), "groups of 32 along axis 2"),
    ("hqq", changed("shape", first(2**30)), "W_q' has shape"),
    ("hqq", changed("group_size", first(-4)), "do not divide"),
    ("hqq", changed("nbits", lambda x: x.repeat(2)), "one number"),
    ("torchao", change_tensors(lambda tensors: tensors), "is missing; fetch it again"),
    ("torchao", changed("_weight_scale", lambda x: x[1:]), "has shape (127, 1)"),
]


@pytest.mark.parametrize(("kind", "lie", "said"), LIES)
def test_a_lie_is_one_line_that_names_it(small_made, kind, lie, said):
    folder = small_made(kind)
    lie(folder)
    assert said in refused(folder)


BENT = {"shorter": lambda x: x[:-1] if x.dim() else x.reshape(1), "transposed": lambda x: x.T if x.dim() == 2 else x[None], "empty": lambda x: x.flatten()[:0],
        "twice": lambda x: torch.cat([x[None], x[None]]).flatten(0, 1) if x.dim() else x.repeat(2), "bytes": lambda x: x.flatten().view(torch.uint8),
        "double": lambda x: x.double(), "int64": lambda x: x.float().nan_to_num().long(), "flags": lambda x: torch.zeros(x.shape, dtype=torch.bool),
        "all ones": lambda x: torch.full((*x.shape, x.element_size()), 255, dtype=torch.uint8).view(x.dtype)[..., 0]}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_tensor_that_is_bent_or_gone_is_one_line_or_harmless(small_made, small_plain, kind):
    """Harmless: the weights have their shapes and are finite, as with a code that is another code."""
    folder = small_made(kind)
    content, wanted = (folder / "model.safetensors").read_bytes(), {name: tensor.shape for name, tensor in load_file(small_plain / "model.safetensors").items()}
    parts = [name.removeprefix(f"{LAYER}.") for name in load_file(folder / "model.safetensors") if name.startswith(f"{LAYER}.")]
    count = 0
    for part in parts:
        for lie in [without(part), *(changed(part, bend) for bend in BENT.values())]:
            (folder / "model.safetensors").write_bytes(content)
            lie(folder)
            out = folder.with_name(f"out{count}")
            try:
                SCRIPT.import_checkpoint(folder, out, None)
            except BadInput as error:
                assert not out.exists() and printable(str(error)).isprintable(), part
                count += 1
                continue
            found = load_file(out / "model.safetensors")
            assert {name: tensor.shape for name, tensor in found.items()} == wanted, part
            assert all(tensor.isfinite().all() for tensor in found.values()), part
            count += 1
    assert not litter(folder.parent)


ODD = (..., None, -1, 0, 0.5, 2**40, "x", [1, 2], {"a": 1}, True)  # ... removes


def places(value, path=()):
    """The path of every value in a tree of JSON."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def placed(tree, path, value):
    """A copy of a tree in which one place has another value."""
    copy = json.loads(json.dumps(tree))
    if not path:
        return None if value is ... else value
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def assert_refused_or_imported(folder, given, write):
    """Whatever `write(tree)` writes, with every other value in every place of the tree that is given."""
    refusals = 0
    for path in places(given):
        for value in ODD:
            write(placed(given, path, value))
            out = folder.with_name("out")
            try:
                SCRIPT.import_checkpoint(folder, out, None)
                shutil.rmtree(out)
            except BadInput as error:
                refusals += 1
                assert not out.exists() and printable(str(error)).isprintable() and len(str(error)) < 600
            except Exception as error:
                raise AssertionError(f"{path} = {value!r}: {type(error).__name__}: {error}") from error
    assert refusals > 10


@pytest.mark.parametrize("kind", MAKERS)
def test_every_other_value_of_quantization_config_is_one_line_or_harmless(small_made, kind):
    folder = small_made(kind)
    given = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    assert_refused_or_imported(folder, given, lambda tree: set_fields(quantization_config=tree)(folder))


def test_every_other_value_of_torchaos_header_is_one_line_or_harmless(small_made):
    folder = small_made("torchao")
    with safe_open(folder / "model.safetensors", "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}

    def write(tree):
        save_file(tensors, folder / "model.safetensors", metadata=header | {f"{LAYER}.weight": json.dumps(tree)})

    assert_refused_or_imported(folder, json.loads(header[f"{LAYER}.weight"]), write)


@pytest.mark.parametrize("key", ["blocksize", "nested_blocksize"])
def test_a_block_of_bitsandbytes_that_is_larger_than_the_matrix_takes_no_memory_of_its_own(small_made, key):
    folder, name = small_made("nf4"), f"{LAYER}.weight.quant_state.bitsandbytes__nf4"
    tensors = load_file(folder / "model.safetensors")
    state = json.loads(bytes(tensors[name].tolist())) | {key: 2**31 - 1}
    one = {f"{LAYER}.weight.absmax": 1, f"{LAYER}.weight.nested_absmax": 1} if key == "blocksize" else {}
    cut = {part: tensors[part][:size].clone() for part, size in one.items()}
    save_file(tensors | cut | {name: torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)}, folder / "model.safetensors")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (1 << 30), before[1]))
    try:
        SCRIPT.import_checkpoint(folder, folder.with_name("out"), None)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_every_other_value_of_bitsandbytes_state_is_one_line_or_harmless(small_made):
    folder, name = small_made("nf4"), f"{LAYER}.weight.quant_state.bitsandbytes__nf4"
    tensors = load_file(folder / "model.safetensors")

    def write(tree):
        save_file(tensors | {name: torch.tensor(list(json.dumps(tree).encode()), dtype=torch.uint8)}, folder / "model.safetensors")

    assert_refused_or_imported(folder, json.loads(bytes(tensors[name].tolist())), write)
