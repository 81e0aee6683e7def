"""What scripts/import_gguf.py says of a file's weights in imported.json, and what rows and tables make of that."""
import hashlib
import importlib.metadata
import json

import gguf
import pytest

from checkpoints import save_tokenizer
from gguf_models import HIDDEN, INNER, imported, import_gguf, write

from gguf_file import Tensor  # gguf_models has put scripts/ on the path
from gguf_record import label
from json_lines import BadInput

Type = gguf.GGMLQuantizationType
ALL = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
Q4_0, Q8_0 = 4 + 16 / 32, 8 + 16 / 32  # a code, and a scale for 32


def record_of(tmp_path, **options):
    folder, _ = imported(tmp_path, **options)
    return json.loads((folder / "imported.json").read_text(encoding="utf-8"))


def test_a_file_of_one_kind(tmp_path):
    record = record_of(tmp_path, kind=Type.Q4_0)
    assert (record["label"], record["bits_per_weight"], record["method"]) == ("GGUF Q4_0", Q4_0, "gguf")
    assert (record["quantized"], record["kept"], record["source"]) == (7, [], "model.gguf")
    assert record["source_hash"] == hashlib.sha256((tmp_path / "model.gguf").read_bytes()).hexdigest()
    assert record["libraries"]["gguf"] == importlib.metadata.version("gguf") and record["libraries"].keys() == {"python", "numpy", "gguf"}


def test_a_mixed_file_counts_each_layer_as_it_is_stored_and_neither_head_nor_embeddings(tmp_path):
    kinds = {f"blk.0.{name}.weight": Type.Q4_0 for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")}
    kinds |= {"blk.0.ffn_down.weight": Type.Q8_0, "blk.0.attn_output.weight": Type.F16, "token_embd.weight": Type.Q5_0}
    record = record_of(tmp_path, kind=kinds)
    down, out = HIDDEN * INNER, HIDDEN * HIDDEN
    assert record["label"] == "GGUF Q4_0, Q8_0"
    assert record["bits_per_weight"] == pytest.approx(((ALL - down - out) * Q4_0 + down * Q8_0 + out * 16) / ALL)
    assert (record["quantized"], record["kept"]) == (6, ["layers.*.self_attn.o_proj"])


@pytest.mark.parametrize("kind", [None, Type.F16, Type.BF16])
def test_a_file_that_is_not_quantized_has_neither_a_label_nor_bits(tmp_path, kind):
    record = record_of(tmp_path, kind=kind)
    assert not {"label", "bits_per_weight"} & record.keys() and (record["quantized"], record["kept"]) == (0, ["layers.*"])


@pytest.mark.parametrize("kinds, said", [
    ((Type.Q6_K, Type.Q4_K, Type.Q4_K), "GGUF Q4_K, Q6_K"), ((Type.Q4_K, Type.Q4_K, Type.Q4_K, Type.Q5_K, Type.Q5_K, Type.Q6_K), "GGUF Q4_K, Q5_K, Q6_K"),
    ((Type.IQ2_XXS, Type.IQ2_XXS, Type.IQ3_XXS, Type.Q2_K), "GGUF IQ2_XXS + 2 more")])
def test_a_label_fits_into_the_tables(kinds, said):
    assert label([Tensor("", kind, (4, 256), 0, 1) for kind in kinds]) == said and len(said) <= 24


def test_rows_and_tables_say_what_the_file_held(evaluate, run, tmp_path):
    folder, _ = imported(tmp_path, kind=Type.Q4_0, dtype="float32", tokens=["a", "b", "ab", *map(str, range(256))])
    save_tokenizer(folder)
    evaluated = evaluate("run", folder, {"sweep": [{"quant": [[], [{"match": "layers.*.q_proj", "weight": {"type": "rtn", "bits": 8, "group": 0}}]]}]})
    assert evaluated.nll()
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in evaluated.results.glob("cells/*/row.json")]
    assert [row["bits_per_weight"] for row in rows if row["axes"]["quant"] == []] == [Q4_0]
    assert "GGUF Q4_0 + rtn W8" in run("show", evaluated.results).stdout


def test_a_name_that_is_no_utf_8_is_one_line(tmp_path):
    path = tmp_path / "model.gguf"
    write(path)
    with pytest.raises(BadInput, match="out.* is no UTF-8; rename it"):
        import_gguf.import_gguf(path, tmp_path / "out\udcff")
    path = path.rename(tmp_path / "odd\udcff.gguf")
    with pytest.raises(BadInput, match="odd.* is no UTF-8; rename it"):
        import_gguf.import_gguf(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]
