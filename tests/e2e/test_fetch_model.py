"""scripts/fetch_model against a hub on this machine: what it takes, where it goes on, what it refuses."""
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from support.hub import COMMIT, Hub, serve
from support.program import REPO, assert_one_line, copy_of_tiny_books

MODEL = "some-org/tiny-books"


@pytest.fixture
def hub(tmp_path):
    folder = copy_of_tiny_books(tmp_path / "hub")
    (folder / "README.md").write_text("a card", encoding="utf-8")
    (folder / "original").mkdir()
    (folder / "original/consolidated.safetensors").write_bytes(b"no part of it")
    (folder / "consolidated.safetensors").write_bytes(b"the same in another form")
    with serve(Hub({MODEL: folder})) as served:
        yield served


@pytest.fixture
def begin(hub, tmp_path):
    def start(*arguments):
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment.pop("HF_TOKEN", None)
        command = [sys.executable, REPO / "scripts/fetch_model", *arguments, "--out", tmp_path / "models"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def fetch(begin):
    def run_it(*arguments):
        process = begin(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_it


def test_a_model_comes_with_what_it_needs_and_is_fetched_once(hub, fetch, run, experiment, tmp_path):
    folder = tmp_path / "models" / MODEL
    process = fetch(MODEL)
    assert process.returncode == 0 and process.stdout.strip() == str(folder), process.stderr
    kept = {file.name for file in folder.iterdir() if file.is_file()}
    assert kept == {"config.json", "model.safetensors", "tokenizer.model", "fetched.json"}
    assert json.loads((folder / "fetched.json").read_text(encoding="utf-8"))["revision"] == COMMIT
    assert (folder / "model.safetensors").read_bytes() == (hub.models[MODEL] / "model.safetensors").read_bytes()
    asked = len(hub.asked)
    assert fetch(MODEL).returncode == 0 and len(hub.asked) == asked
    checked = run("check", experiment({"model.path": str(folder)}))
    assert checked.returncode == 0, checked.stderr


def test_an_adapter_at_the_hub_is_not_left_there_unseen(hub, fetch, run, experiment, tmp_path):
    (hub.models[MODEL] / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert fetch(MODEL).returncode == 0
    assert_one_line(run("check", experiment({"model.path": str(tmp_path / "models" / MODEL)})), "holds an adapter (adapter_config.json)")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: os.truncate(file, 100)], ids=["gone", "cut"])
def test_a_file_that_is_gone_or_cut_since_is_fetched_again(hub, fetch, tmp_path, name, damage):
    assert fetch(MODEL).returncode == 0
    file = tmp_path / "models" / MODEL / name
    damage(file)
    hub.asked.clear()
    assert fetch(MODEL).returncode == 0 and file.read_bytes() == (hub.models[MODEL] / name).read_bytes()
    assert {name for _, name, _ in hub.asked} == {name}


def test_a_run_that_is_interrupted_says_so_in_one_line(hub, begin, fetch, tmp_path):
    hub.stall_behind = 100_000
    process = begin(MODEL)
    for _ in range(600):
        if list((tmp_path / "models").rglob(".*.part")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (1, "", "fetch_model: interrupted; run this again, it goes on where it was\n")
    hub.stall_behind = None
    assert fetch(MODEL).returncode == 0


def test_a_killed_run_goes_on_where_it_was(hub, begin, fetch, tmp_path):
    (hub.models[MODEL] / "model.safetensors").write_bytes(os.urandom(45_000_000))  # several of the pieces that huggingface_hub writes
    hub.stall_behind = 35_000_000
    process = begin(MODEL)
    parts = lambda: [file.stat().st_size for file in (tmp_path / "models").rglob(".*.part")]  # noqa: E731
    for _ in range(600):
        if max(parts(), default=0) > 10_000_000:
            break
        time.sleep(0.05)
    assert max(parts(), default=0) > 10_000_000
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "models").rglob("fetched.json"))
    hub.stall_behind = None
    hub.asked.clear()
    assert fetch(MODEL).returncode == 0
    assert [begin > 0 for method, name, begin in hub.asked if method == "GET" and name == "model.safetensors"] == [True]
    assert (tmp_path / "models" / MODEL / "model.safetensors").read_bytes() == (hub.models[MODEL] / "model.safetensors").read_bytes()


def test_what_a_killed_run_left_of_another_revision_is_not_read_beside_the_new_one(hub, begin, fetch, tmp_path):
    whole = hub.models[MODEL] / "model.safetensors"
    content = whole.read_bytes()
    shards = [hub.models[MODEL] / f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard, size in zip(shards, (1000, 45_000_000)):
        shard.write_bytes(os.urandom(size))
    whole.unlink()
    hub.stall_behind = 35_000_000
    process = begin(MODEL)
    for _ in range(600):
        if max((file.stat().st_size for file in (tmp_path / "models").rglob(".*.part")), default=0) > 10_000_000:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    folder = tmp_path / "models" / MODEL
    assert (folder / shards[0].name).is_file()
    for shard in shards:
        shard.unlink()
    whole.write_bytes(content)
    hub.commit, hub.stall_behind = "d" * 40, None
    assert fetch(MODEL).returncode == 0
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.model", "fetched.json"}
    assert (folder / "model.safetensors").read_bytes() == content


def test_a_file_that_came_with_another_content_is_fetched_again(hub, fetch, tmp_path):
    assert fetch(MODEL).returncode == 0
    folder = tmp_path / "models" / MODEL
    (folder / "fetched.json").write_text('{"revision": ', encoding="utf-8")  # as if it had been killed before the end, or worse
    weights = folder / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    hub.asked.clear()
    assert fetch(MODEL).returncode == 0 and weights.read_bytes() == good
    assert [name for _, name, _ in hub.asked] == ["model.safetensors"]


def test_pickled_weights_become_safetensors(hub, fetch, run, experiment, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = hub.models[MODEL]
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for file, own in shards.items():
        torch.save({name: tensors[name] for name in own}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, own in shards.items() for name in own}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "model.safetensors").unlink()
    process = fetch(MODEL)
    assert process.returncode == 0, process.stderr
    out = tmp_path / "models" / MODEL
    assert sorted(file.name for file in out.iterdir() if file.is_file()) == [
        "config.json", "fetched.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
        "tokenizer.model"]
    found = load_file(out / "model-00001-of-00002.safetensors") | load_file(out / "model-00002-of-00002.safetensors")
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in names)
    assert run("check", experiment({"model.path": str(out)})).returncode == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["lama2-7b"], ["unknown model 'lama2-7b'; did you mean llama2-7b?", "OWNER/MODEL"]),
    (["../x"], ["unknown model '../x'", "OWNER/MODEL"]), (["a/b/c"], ["unknown model 'a/b/c'", "OWNER/MODEL"]),
    (["some-org/none"], ["some-org/none: no such model at"]),
    ([MODEL, "--revision", "v9"], ["has no revision v9"])])
def test_what_cannot_be_fetched_is_one_line(hub, fetch, tmp_path, arguments, said):
    assert_one_line(fetch(*arguments), *said)
    assert not list((tmp_path / "models").rglob("*.safetensors"))


def test_a_licence_to_accept_is_one_line_that_says_where(hub, fetch):
    hub.gated.add(MODEL)
    assert_one_line(fetch(MODEL), "its licence has to be accepted first: open", f"/{MODEL}", "HF_TOKEN")


def test_too_little_room_is_said_before_anything_is_fetched(hub, fetch, tmp_path):
    hub.sizes["model.safetensors"] = 2**50
    assert_one_line(fetch(MODEL), "GB more and", "make room, or name another --out FOLDER")
    assert not hub.asked


def test_what_was_fetched_of_a_file_needs_no_more_room(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    script = runpy.run_path(str(REPO / "scripts/fetch_model"))
    files = {"model.safetensors": SimpleNamespace(size=1000, lfs=SimpleNamespace(sha256="a")), "config.json": SimpleNamespace(size=10, lfs=None, blob_id="b")}
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=110))
    (tmp_path / ".a.part").write_bytes(bytes(899))
    with pytest.raises(script["CannotFetch"], match="needs .* more"):
        script["check_space"](MODEL, tmp_path, files)
    (tmp_path / ".a.part").write_bytes(bytes(900))
    script["check_space"](MODEL, tmp_path, files)


def test_names_are_models_at_whole_commits():
    for name, pinned in json.loads((REPO / "scripts/fetch_model.json").read_text(encoding="utf-8")).items():
        assert len(pinned["revision"]) == 40 and set(pinned["revision"]) <= set("0123456789abcdef"), name
        assert pinned["model"].count("/") == 1


def test_a_name_is_one_model_to_fetch_configure_and_make_the_papers_tables_of():
    path_of = lambda file: yaml.safe_load(file.read_text(encoding="utf-8"))["model"]["path"]  # noqa: E731
    configured = {file.stem: path_of(file) for file in (REPO / "configs/models").glob("*.yaml")}
    pinned = json.loads((REPO / "scripts/fetch_model.json").read_text(encoding="utf-8"))
    assert {name: f"models/{entry['model']}" for name, entry in pinned.items()}.items() <= configured.items()
    sizes = {file.stem: path_of(file).removeprefix("configs/models/") for file in (REPO / "paper/models").glob("*.yaml")}
    assert sizes.items() <= configured.items() and {"llama2-13b", "llama3.1-8b"} <= set(sizes)
