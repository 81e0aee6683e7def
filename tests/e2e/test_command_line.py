"""The verbs that run nothing, what the repository's own configurations hold, and the frozen command line."""
import json
import re
import shutil

import pytest
import yaml

from support.program import REPO, TEXT, TINY_BOOKS, assert_one_line, copy_of_tiny_books, read_rows


def test_check_opens_weights_and_reads_their_headers_alone(run, experiment, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.model"):
        shutil.copy(TINY_BOOKS / name, tmp_path / "model")
    file = experiment({"model.path": str(tmp_path / "model")})
    process = run("check", file)
    assert process.returncode == 1 and "holds neither model.safetensors nor" in process.stderr
    content = (TINY_BOOKS / "model.safetensors").read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    (tmp_path / "model/model.safetensors").write_bytes(content[:head] + b"\xff" * (len(content) - head))  # NaN
    process = run("check", file)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith(f"{file}: 4 jobs\n  4 cells, ") and process.stdout.count("\n") == 2
    assert run("run", file, "--results", tmp_path / "results").returncode == 1


def test_check_reports_every_bad_file_and_goes_on(run, experiment):
    bad, good = experiment({"windows.lenght": 3}, "bad.yaml"), experiment(name="good.yaml")
    worse = experiment({"rope": {"type": "spiral"}, "sweep": None}, "worse.yaml")
    process = run("check", bad, good, worse)
    assert process.returncode == 1 and process.stdout.startswith(f"{good}: 4 jobs\n") and process.stdout.count(" jobs") == 1
    assert [line.split(":")[0] for line in process.stderr.splitlines()] == [str(bad), str(worse)]


# The fields that the prompts of configs/tasks and of the plugins' examples name.
QUESTION = {"query": "Is it?", "sentence": "It _ so.", "passage": "It is.", "choices": ["is", "was"], "label": 1, "context": "It is.",
            "input": "Is it?", "answers": ["yes"]}
EXPERIMENTS = sorted(path.relative_to(REPO) for path in (REPO / "experiments").rglob("*.yaml"))


def test_there_are_experiments():
    assert len(EXPERIMENTS) >= 2


@pytest.mark.parametrize("file", EXPERIMENTS, ids=str)
def test_every_experiment_passes_check(run, file):
    process = run("check", file, cwd=REPO)
    missing = re.search(r"(?:data|model|tasks\[\d+\])(?:\.pad)?\.path: \S*?/((?:data|models)/[^:\s]+): no such", process.stderr)
    if missing and not (REPO / missing[1]).exists():
        pytest.skip(f"{missing[1]} is not there: it is fetched or made, not committed")
    assert process.returncode == 0, process.stderr
    assert int(re.search(r": (\d+) jobs", process.stdout)[1]) >= 1


@pytest.fixture(scope="module")
def long_text(tmp_path_factory):
    """Some 280,000 tokens, enough for what the building blocks calibrate on and evaluate."""
    text = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"]
    file = tmp_path_factory.mktemp("text") / "long.jsonl"
    file.write_text(json.dumps({"id": "long", "text": text * 210}), encoding="utf-8")
    return file


def narrow_model(folder):
    """tiny-books with the first 8 channels of each head: a model that computes something, and whose head_dim the examples of longrope and by_band are written for."""
    from safetensors.torch import load_file, save_file

    model = copy_of_tiny_books(folder, head_dim=8)
    tensors = load_file(model / "model.safetensors")
    for name, tensor in tensors.items():
        if any(part in name for part in ("q_proj", "k_proj", "v_proj")):
            tensors[name] = tensor[:32].contiguous()
        elif "o_proj" in name:
            tensors[name] = tensor[:, :32].contiguous()
    save_file(tensors, model / "model.safetensors")
    return model


@pytest.mark.parametrize("file", sorted(path.relative_to(REPO) for path in (REPO / "configs").rglob("*.yaml")), ids=str)
def test_every_building_block_can_be_included(run, experiment, long_text, tmp_path, file):
    block = yaml.safe_load((REPO / file).read_text(encoding="utf-8"))
    changes = {"include": [str(REPO / file)], "sweep": None, "calibration": {"data": {"path": str(long_text)}}}
    if "windows" in block:  # a protocol, which says what is evaluated but not where it lies
        changes |= {"data": {"path": str(long_text), "documents": 1, "min_tokens": 1}, "windows": None}
    model = block.get("model", {}).get("path")
    if model:
        if not (REPO / file.parent / model).exists() and not (REPO / model).exists():
            pytest.skip(f"{model} is not there: it is fetched or made, not committed")
        changes["model"] = None
    data = block.get("data", {}).get("path")
    # Texts that are made, not committed, have a stand-in, so that the block's other keys are looked at all the same.
    if data and ((REPO / file.parent / data).exists() or (REPO / data).exists()):
        changes["data"] = None
        if data.endswith(".smollm2.tok"):  # tokens of one model
            changes["model.path"] = str(REPO / "models/smollm2-135m")
    folder = REPO
    for task in block.get("tasks", []):  # their files are made, too; a relative path counts from the working directory
        folder = tmp_path
        (tmp_path / task["path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / task["path"]).write_text(json.dumps(QUESTION), encoding="utf-8")
    process = run("check", experiment(changes), cwd=folder)
    assert process.returncode == 0, process.stderr


def listed(stdout):
    """{kind: {name: example}} as `list` prints them."""
    kinds, lines = {}, stdout.splitlines()
    for i, line in enumerate(lines):
        if not line.startswith(" "):
            kind = kinds.setdefault(line, {})
        elif line[2] != " ":
            kind[line.split()[0]] = yaml.safe_load(lines[i + 1])
    return kinds


def test_list_prints_every_plugin_and_every_example_builds(run, experiment, long_text, tmp_path):
    kinds = listed(run("list").stdout)
    model = narrow_model(tmp_path / "model")
    files = []
    for name, example in kinds["rope scheme"].items():
        files.append(experiment({"model.path": str(model), "rope": example, "sweep": None}, f"rope_{name}.yaml"))
    for name, example in kinds["quantizer"].items():
        rule = {"match": "layers.*.self_attn.q_proj", "weight": example}
        calibration = {"data": {"path": str(long_text)}}  # for those that need one; the others take no notice
        files.append(experiment({"model.path": str(model), "quant": [rule], "calibration": calibration, "sweep": None}, f"quant_{name}.yaml"))
    files.append(experiment({"diagnostics": list(kinds["diagnostic"].values()), "sweep": None}, "diagnostics.yaml"))
    files.append(experiment({"metrics": list(kinds["metric"].values()), "windows": {"length": 8192}, "data.path": str(long_text), "sweep": None}, "metrics.yaml"))
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps(QUESTION), encoding="utf-8")
    tasks = [example | ({"path": str(questions), "name": name} if "path" in example else {}) for name, example in kinds["task"].items()]
    files.append(experiment({"tasks": tasks, "windows": {"length": 512}, "data": None, "sweep": None}, "tasks.yaml"))
    for name, example in kinds["rescaling"].items():
        files.append(experiment({"rescale": example, "sweep": None}, f"rescale_{name}.yaml"))
    searches = []
    for name, example in kinds["search strategy"].items():
        search = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [64], "short_length": 32, "budget": 9, "strategy": example}
        searches.append(experiment({"data.skip": 1, "rescale": {"type": "bands", "search": search}, "sweep": None}, f"search_{name}.yaml"))
    process = run("check", *files, *searches)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count(": 1 jobs") == len(files)
    assert process.stdout.count(": 11 jobs") == len(searches)  # each with its controls


REGISTRATION = re.compile(r'const Register<(\w+), [^;{]*?\{\s*"(\w+)"')


def test_list_knows_every_plugin_that_a_source_registers(run):
    sources = [path.read_text(encoding="utf-8") for path in (REPO / "src").rglob("*.cpp")]
    registered = sorted(name for source in sources for _, name in REGISTRATION.findall(source))
    kinds = json.loads(run("list", "--format", "json").stdout)
    assert registered and registered == sorted(entry["name"] for entries in kinds.values() for entry in entries)
    assert all(entry["summary"] for entries in kinds.values() for entry in entries)
    examples = {kind: {entry["name"]: yaml.safe_load(entry["example"]) for entry in entries} for kind, entries in kinds.items()}
    assert listed(run("list").stdout) == examples


def test_list_takes_one_kind(run):
    assert list(listed(run("list", "quantizer").stdout)) == ["quantizer"]
    assert list(json.loads(run("list", "quantizer", "--format", "json").stdout)) == ["quantizer"]


def options(run, *verb):
    """The options that --help names, without --help itself."""
    process = run(*verb, "--help")
    assert process.returncode == 0
    return process.stdout, set(re.findall(r"(?<![\w-])--[a-z]+", process.stdout)) - {"--help"}


def test_the_command_line_is_frozen(run):
    text, top = options(run)
    assert top == {"--version"}
    assert set(re.findall(r"^  ([a-z]+) ", text.split("Subcommands:")[1], re.MULTILINE)) == {"run", "check", "list", "show", "collect", "pack"}
    assert options(run, "run")[1] == {"--set", "--results", "--shard", "--only", "--devices", "--rerun"}
    assert options(run, "check")[1] == {"--set", "--results"}
    assert options(run, "list")[1] == {"--format"}
    assert options(run, "show")[1] == {"--all", "--draws", "--format", "--baseline", "--interaction"}
    assert options(run, "collect")[1] == set()
    assert options(run, "pack")[1] == {"--into", "--tasks", "--hours", "--device", "--results", "--set"}
    for verb, argument in (("run", "FILE"), ("check", "FILE"), ("list", "KIND"), ("show", "RESULTS_DIR"), ("collect", "RESULTS_DIR"),
                           ("pack", "FILE")):
        assert re.search(rf"^  {argument} ", options(run, verb)[0], re.MULTILINE)


def test_pack_makes_a_new_folder_that_runs_by_itself(run, experiment, finished, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").touch()
    assert_one_line(run("pack", experiment(), "--into", tmp_path / "full"), "full", "is there already")
    assert_one_line(run("pack", experiment(), "--into", tmp_path / "new", "--tasks", 0), "--tasks", "1 to 100000")
    assert_one_line(run("pack", tmp_path / "none.yaml", "--into", tmp_path / "new"), "none.yaml")
    assert_one_line(run("pack", experiment({"rope": {"type": "yarm"}, "sweep": None}), "--into", tmp_path / "new"), "yarm")
    assert not (tmp_path / "new").exists()
    process = run("pack", finished[1], "--into", tmp_path / "new", "--results", tmp_path / "results", "--tasks", 3)
    assert process.returncode == 0, process.stderr
    tasks = (tmp_path / "new/tasks").read_text(encoding="utf-8").splitlines()
    assert 1 < len(tasks) <= 3 and sorted(",".join(tasks).split(",")) == sorted(read_rows(finished[2]))
    process = run("run", process.stdout.strip(), "--results", tmp_path / "results", "--only", tasks[0])
    assert process.returncode == 0, process.stderr
    assert sorted(read_rows(tmp_path / "results")) == sorted(tasks[0].split(","))
    everything = run("pack", finished[1], "--into", tmp_path / "nothing", "--results", finished[2])
    assert everything.returncode == 0 and everything.stdout == "" and not (tmp_path / "nothing").exists()
