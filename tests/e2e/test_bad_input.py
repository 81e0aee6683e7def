"""Bad experiments, command lines and machines: one clear line that names the place, exit code 1, and nothing half-written."""
import json
import shutil

import numpy as np
import pytest

from support.program import TEXT, TINY_BOOKS, assert_one_line, read_rows, tiny_books_tokenizer_hash, write_token_file

SCHEMES = object()  # the names of all RoPE schemes, as the program has them

# ---- the experiment

YAML = f"""# An experiment with known lines and columns.
model: {{path: {TINY_BOOKS}, dtype: float32}}
data: {{path: {TEXT}}}
windows: {{length: 64, truncate: true}}
"""


@pytest.mark.parametrize(("text", "place", "parts"), [
    ("rope: {type: yarn, factor: auto\n", ":5:", ["not valid YAML"]),
    ("rope: {type: none}\nrope: {type: none}\n", ":6:1: rope: ", ["stands twice", ":5:1"]),
    ("windwos: {length: 4}\n", ":5:1: windwos: ", ["unknown key"]),
    ("rope: {type: yarn, fractor: 4}\n", ":5:7: rope.factor: ", ["missing", "did you misspell it as 'fractor'"]),
    ("rope: {type: yarn, factor: 4, beta_fats: 32}\n", ":5:31: rope.beta_fats: ", ["did you mean 'beta_fast'"]),
    ("rope: {type: yarn, factor: 4, attention_factor: 1, mscale: 1, mscale_all_dim: 2}\n", ":5:60: rope.mscale: ", ["is not read beside attention_factor"]),
    ("rope: {type: yran, factor: 4}\n", ":5:14: rope.type: ", ["unknown 'yran'", "did you mean 'yarn'", SCHEMES]),
    ("rope: {type: yarn, factor: [4]}\n", ":5:28: rope.factor: ", ["expected auto or a number"]),
    ("seed: many\n", ":5:7: seed: ", ["expected an integer, found 'many'"]),
    ("rescale: {type: bands}\n", ":5:10: rescale: ", ["give one of scales", "file", "search"]),
    ("rescale: {type: band}\n", ":5:17: rescale.type: ", ["did you mean 'bands'"]),
    ("diagnostics: [quant_errors]\n", ":5:15: ", ["did you mean 'quant_error'"]),
    ("metrics: [perplexiti]\n", ":5:11: ", ["did you mean 'perplexity'"]),
    ("quant: [{match: 'layer.*', weight: {type: rtn}}]\n", ":5:17: quant[0].match: ", ["matches no layer", "layers.0.self_attn.q_proj"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, group: 64}}, {match: 'layers.*', input: {type: fp8}}]\n", ":5:17: quant[0].match: ",
     ["'layers.*' decides no layer", "the last one decides"]),
    ("quant: [{match: '*.down_proj', weight: {type: rtn, bits: 8, group: 64}}, {match: 'layers.*', weight: {type: rtn, group: 64}}]\n",
     ":5:17: quant[0].match: ", ["'*.down_proj' decides no layer"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, group: 96}}]\n", ":5:37: quant[0].weight: ",
     ["group 96 does not divide the 256 inputs of layers.0.self_attn.q_proj", "16, 32, 64, 128, 256"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, group: 128}}]\n", ":5:37: quant[0].weight: ",
     ["the 704 inputs of layers.0.mlp.down_proj", "16, 32, 64"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, bits: 9, group: 64}}]\n", ":5:55: quant[0].weight.bits: ", ["from 2 to 8, found 9"]),
    ("sweep: [{windows.length: 64}]\n", ":5:26: ", ["expected a list of values"]),
    ("sweep: [{windows.length: [64, 64]}]\n", ":5:31: ", ["the same value"]),
    ("rope: {type: longrope, factor: 2, factors: nowhere.json}\n", ":5:", ["nowhere.json: no such file"]),
    ("include: [../nowhere.yaml]\n", ":5:11: include[0]: ", ["no such file"]),
    ('export: {folder: "a\\uffffb"}\n', ":5:18: ", ["a code point that Unicode gives to no character (such as U+FFFF)"]),
    ('export: {folder: "a\ufdd0b"}\n', ":5:18: ", ["a code point that Unicode gives to no character"]),
    ('export: {folder: "a\\0b"}\n', ":5:18: ", ["a NUL (\\0), at which the system would end the path"]),
], ids=lambda value: value.strip()[:40] if isinstance(value, str) else "")
def test_a_wrong_configuration_is_named_with_its_place(refused, run, tmp_path, text, place, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(YAML + text, encoding="utf-8")
    schemes = ", ".join(entry["name"] for entry in json.loads(run("list", "rope scheme", "--format", "json").stdout)["rope scheme"])
    refused(file, f"{file}{place}", *(schemes if part is SCHEMES else part for part in parts))
    process = run("check", file)
    assert process.returncode == 1 and f"{file}{place}" in process.stderr


def test_a_missing_experiment_is_one_line(refused, tmp_path):
    refused(tmp_path / "none.yaml", f"{tmp_path}/none.yaml: no such file")


def test_a_missing_key_is_named(refused, experiment):
    file = experiment({"windows.length": None, "sweep": None})
    refused(file, f"{file}:", "windows.length: missing")


@pytest.mark.parametrize(("override", "parts"), [
    ("windows.length", ["--set:1:1", "has no '='", "--set key=value"]),
    ("windows.length=long", ["--set:1:16: windows.length: expected an integer, found 'long'"]),
    ("windows.strid=64", ["--set:1:1: windows.strid: unknown key; did you mean 'stride'?"]),
    ("data.path.x=1", ["--set:1:1", "data.path.x"]),
    ("rope={type: yarn", ["--set:1:6: ", "is a bracket left open?"]),
])
def test_a_bad_set_is_named(refused, experiment, override, parts):
    refused(experiment({"sweep": None}), *parts, arguments=["--set", override])


@pytest.mark.parametrize("override", ["windows.length=16", "rope.factor=3", "rope={type: yarn, factor: 2}"])
def test_a_set_that_the_sweep_overwrites_is_named(refused, experiment, override):
    """It would change nothing, and the cells of the sweep would look like those that were asked for."""
    refused(experiment(), f"--set:1:{override.index('=') + 2}" if "{" not in override else "--set:1:13: rope.type",
            "an axis of the sweep overwrites it in every point", arguments=["--set", override])


def test_a_set_that_one_block_of_the_sweep_overwrites_counts_in_the_others(run, experiment, tmp_path):
    sweep = [{"windows.length": [32]}, {"rope": [{"type": "none"}, {"type": "linear", "factor": 2}]}]
    assert run("run", experiment({"sweep": sweep}), "--results", tmp_path / "out", "--set", "windows.length=16").returncode == 0
    assert sorted(row["config"]["windows"]["length"] for row in read_rows(tmp_path / "out").values()) == [16, 16, 32]


@pytest.mark.parametrize("shard", ["3/2", "0/2", "1", "1/2/3", "a/b", "-1/2"])
def test_a_bad_shard_is_named(refused, experiment, shard):
    refused(experiment(), f"--shard {shard}: write K/N with 1 <= K <= N, such as 2/8", arguments=[f"--shard={shard}"])


def test_only_without_an_id_does_not_run_everything(refused, experiment):
    """What a batch script's empty variable would do."""
    refused(experiment(), "--only: an id is empty", arguments=["--only", ""])


def test_only_with_an_unknown_id_is_named(refused, experiment):
    refused(experiment(), "--only zzz: no cell of", arguments=["--only", "zzz"])


@pytest.mark.parametrize(("arguments", "part"), [
    (["show", ".", "--format", "html"], "html"), (["run"], "FILE"), (["fly"], "subcommand"), ([], "subcommand"),
    (["run", "a.yaml", "--dry"], "--dry"), (["list", "planets"], "unknown kind 'planets'; known: rope scheme, quantizer, rescaling, search strategy, metric"),
    (["run", "a.yaml", "--results", ""], "--results"), (["run", "a.yaml", "--devices", ""], "--devices"), (["check", "a.yaml", "--results", ""], "--results"),
    (["pack", "a.yaml", "--into", "a", "--results", ""], "--results"),
])
def test_a_wrong_command_line_is_one_line(run, arguments, part):
    assert_one_line(run(*arguments), part)


def test_show_of_a_folder_without_results_is_one_line(run, tmp_path):
    assert_one_line(run("show", tmp_path), f"{tmp_path}: no results here", "qroar run")


def test_show_with_an_unknown_baseline_is_one_line(run, experiment, tmp_path):
    assert run("run", experiment({"sweep": None}), "--results", tmp_path / "results").returncode == 0
    assert_one_line(run("show", tmp_path / "results", "--baseline", "zzz"), "--baseline zzz: 0 rows have an id that begins so")


def test_a_row_that_is_no_json_is_marked_by_show_and_run_again_by_run(run, experiment, tmp_path):
    file = experiment({"sweep": None})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    (row,) = (tmp_path / "results").glob("cells/*/row.json")
    before = json.loads(row.read_text(encoding="utf-8"))
    row.write_text('{"id": ', encoding="utf-8")
    shown = run("show", tmp_path / "results")
    assert shown.returncode == 0 and f"{row}:1:" in shown.stdout and f"{row}:1:" in shown.stderr and shown.stderr.count("\n") == 1
    again = run("run", file, "--results", tmp_path / "results")
    assert again.returncode == 0 and f"{row}:1:" in again.stderr
    assert json.loads(row.read_text(encoding="utf-8"))["metrics"] == before["metrics"]


# ---- the machine

@pytest.mark.parametrize(("weights", "with_what"), [("resident", "beside the weights"), ("auto", "with streamed weights (embeddings, head and two layers)")])
def test_a_length_beyond_memory_fails_with_what_is_needed_and_what_is_there(failed, experiment, tmp_path, weights, with_what):
    # 20 million tokens at 22 kB each in float64: 420 GiB.
    write_token_file(tmp_path / "long.tok", tiny_books_tokenizer_hash(), {"long": np.zeros(20_000_000, dtype="<i4")})
    failed(experiment({"data.path": str(tmp_path / "long.tok"), "windows.length": 20_000_000, "model.dtype": "float64", "model.weights": weights, "sweep": None}),
           "a window of 20000000 tokens needs about", f"GiB {with_what} and cpu has", "GiB free; take a smaller windows.length")


def test_a_search_s_length_beyond_memory_fails_before_the_search(run, experiment, tmp_path):
    write_token_file(tmp_path / "long.tok", tiny_books_tokenizer_hash(), {"long": np.zeros(20_000_000, dtype="<i4")})
    search = {"data": {"path": str(tmp_path / "long.tok")}, "lengths": [64, 20_000_000], "short_length": 32}
    file = experiment({"rescale": {"type": "bands", "search": search}, "model.dtype": "float64", "sweep": None})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 1 and "a window of 20000000 tokens needs about" in process.stderr, process.stderr
    assert "GiB free; take smaller rescale.search.lengths or another device" in process.stderr


def test_an_unknown_device_is_named_with_its_place(refused, experiment):
    file = experiment({"model.device": "gpu"})
    refused(file, f"{file}:4:11: model.device: ", "auto, cpu, cuda or cuda:N")


def test_a_gpu_that_is_not_there_is_named(refused, experiment):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have a GPU")
    refused(experiment({"model.device": "cuda"}), "device cuda is not there", "write device: cpu or auto")


# ---- writing

def test_results_below_a_regular_file_are_refused(run, experiment, tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    assert_write_failed(run("run", experiment(), "--results", tmp_path / "file/results"), tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "not a folder"


def assert_write_failed(process, place):
    """A run that stopped at a failed write: what came before it in the log, then one line that names the place."""
    assert process.returncode == 1, process.stderr
    assert process.stdout == ""
    errors = [line for line in process.stderr.splitlines() if " info " not in line and not line[:2].isdigit()]
    assert len(errors) == 1 and str(place) in errors[0], process.stderr


@pytest.mark.parametrize("arguments", [["show", "RESULTS"], ["list"], ["--version"]])
def test_a_full_stdout_is_noticed(run, experiment, tmp_path, arguments):
    assert run("run", experiment({"sweep": None}), "--results", tmp_path / "results").returncode == 0
    with open("/dev/full", "w") as full:
        process = run(*[str(tmp_path / "results") if word == "RESULTS" else word for word in arguments], stdout=full)
    assert process.returncode == 1 and process.stderr == "cannot write to stdout: No space left on device\n"
