"""docs/config.md against the program: each table's keys, choices and bounds are what `check` names when it refuses an experiment, and its
defaults are those of resolved.yaml.  At the end docs/results.md: the keys of rows, the columns of tables."""
import json
import re
from dataclasses import dataclass

import pytest
import yaml

from support.program import REPO, TEXT, TINY_BOOKS, copy_of_tiny_books, read_rows

DOC = REPO / "docs/config.md"
QUESTION = '{"query": "a", "choices": ["b", "c"], "label": 0, "context": "a", "input": "b", "answers": ["c"]}\n'
UNKNOWN = "qqqqqqqqqqqq"  # like no key or word of the program, so that it lists them all


@dataclass
class Row:
    table: str
    key: str
    of: set  # names of plugins; {None} in a table without the column
    values: str
    default: str

    @property
    def choices(self):
        """The words of a closed set, in order; nothing for any other kind of value."""
        words = re.findall(r"`([^`]+)`", self.values)
        return words if words and self.values == ", ".join(f"`{word}`" for word in words) else None

    @property
    def bounds(self):
        """The numbers beside `to` or behind `at least`."""
        numbers = re.fullmatch(r"(?:auto or )?(\S+) to (\S+)|at least (\S+)", self.values)
        try:
            return [float(text) for text in numbers.groups() if text] if numbers else None
        except ValueError:
            return None  # another key's name

    @property
    def literal(self):
        return re.fullmatch(r"`(.*)`", self.default)

    @property
    def value(self):
        return yaml.safe_load(self.literal[1])


def read_rows_of_tables():
    rows, table, columns = [], None, None
    for line in DOC.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            table, columns = line[3:].replace("`", ""), None
        elif line.startswith("|") and columns is None:
            columns = [cell.strip() for cell in line.strip("|").split("|")]
        elif line.startswith("|") and not line.startswith("|---"):
            cells = dict(zip(columns, [cell.strip() for cell in line.strip("|").split("|")], strict=True))
            of = set(cells["of"].split(", ")) if "of" in cells else {None}
            rows.append(Row(table, cells["key"].strip("`"), of, cells["values"], cells["default"]))
    types = {row.table: row.choices for row in rows if row.key == "type"}
    for row in rows:
        if row.of == {"all"}:
            row.of = set(types[row.table])
    return rows


ROWS = read_rows_of_tables()


@dataclass
class Probe:
    """An experiment with one block of a table in it.  `prefix`: of keys of a map inside of the block."""
    table: str
    kind: str
    place: tuple  # where the block is in the experiment
    changes: dict
    prefix: str = ""

    def documented(self):
        return [row for row in ROWS if row.table == self.table and self.kind in row.of and row.key.rpartition(".")[0] == self.prefix.rstrip(".")]

    def block(self, config):
        for step in self.place:
            if isinstance(config, dict) and step not in config:
                return {}
            config = config[step]
        return config


def probes(folder):
    match = {"match": "layers.*.self_attn.q_proj"}  # whose inputs every default group divides
    data, long, dev = {"path": str(TEXT)}, {"length": 8192}, {"data": {"path": str(TEXT)}, "lengths": [1024, 520]}
    by_channel = {"type": "nvfp4", "global_scale": "token", "group": 64}
    question = folder / "questions.jsonl"
    question.write_text(QUESTION, encoding="utf-8")
    (folder / "factors.txt").write_text("1 " * 32, encoding="utf-8")

    def searched(**search):
        return {"rescale": {"type": "bands", "search": dev | search}}

    found = [Probe("Top level", None, (), {}),
             Probe("model", None, ("model",), {}),
             Probe("data", None, ("data",), {}),
             Probe("windows", None, ("windows",), {"windows": {"length": 64}}),
             Probe("quant: a rule", None, ("quant", 0), {"quant": [match]}),
             Probe("quant: a rule", None, ("quant", 0, "input"), {"quant": [match | {"input": {"type": "rtn", "group": 0}}]}, "input."),
             Probe("kv", None, ("kv",), {"kv": {"type": "fake_quant"}}),
             Probe("kv", None, ("kv",), {"kv": {}}),
             *(Probe("kv", None, ("kv", part), {"kv": {"type": "fake_quant", f"{part}_axis": "channel", "residual": 64, part: by_channel}},
                     f"{part}.") for part in ("key", "value")),
             Probe("rounding", None, ("rounding",), {"rounding": {}}),
             Probe("rotation", None, ("rotation",), {"rotation": {"type": "hadamard"}}),
             Probe("rotation", None, ("rotation",), {"rotation": {}}),
             Probe("calibration", None, ("calibration",), {"quant": [match | {"weight": {"type": "gptq"}}], "calibration": {"data": data}}),
             Probe("reference", None, ("reference",), {"reference": {"path": str(folder / "model")}, "metrics": ["kl_divergence"]}),
             Probe("export", None, ("export",), {"export": {"folder": str(folder / "exported")}}),
             Probe("rescale.search", None, ("rescale", "search"), searched()),
             Probe("rescale.search", None, ("rescale", "search", "grid"), searched(grid={}), "grid.")]
    schemes = {"longrope": [{"factor": 2, "factors": str(folder / "factors.txt")}, {"factor": 2, "long_factor": [2] * 32}]}
    for name in kinds("rope"):
        for own in schemes.get(name, [{"factor": 2} if name not in ("model", "none", "dynamic_ntk", "dynamic_yarn") else {}]):
            found.append(Probe("rope", name, ("rope",), {"rope": {"type": name} | own}))
    for name in kinds("Quantizers"):
        own = {"edges": [0, 16, 32], "of": [{"type": "none"}, {"type": "nf4"}]} if name == "by_band" else {}
        rule = match | {"weight": {"type": name} | own}
        found.append(Probe("Quantizers", name, ("quant", 0, "weight"), {"quant": [rule], "calibration": {"data": data}}))
    for name in kinds("metrics"):
        found.append(Probe("metrics", name, ("metrics", 0), {"metrics": [{"type": name}], "windows": long}))
    for name in kinds("diagnostics"):
        found.append(Probe("diagnostics", name, ("diagnostics", 0), {"diagnostics": [{"type": name}], "windows": long}))
    for name in kinds("tasks"):
        own = {"lengths": [128]} if name == "passkey" else {"path": str(question)}
        found.append(Probe("tasks", name, ("tasks", 0), {"tasks": [{"type": name} | own], "windows": {"length": 512}}))
    padded = {"type": "multiple_choice", "path": str(question), "pad": {"path": str(TEXT), "tokens": 8}}
    found.append(Probe("tasks", "multiple_choice", ("tasks", 0, "pad"), {"tasks": [padded]}, "pad."))
    scales = {"type": "bands", "scales": [1] * 6}
    banded = [scales, scales | {"edges": [0, 4, 8, 12, 16, 24, 32]}, searched()["rescale"], searched()["rescale"] | {"control": "random"}]
    for own in (*banded, {"type": "none"}, {"type": "pairs", "factor": 2}, {"type": "clip_low"}):
        found.append(Probe("rescale", own["type"], ("rescale",), {"rescale": own}))
    for name in kinds("Search strategies"):
        found.append(Probe("Search strategies", name, ("rescale", "search", "strategy"), searched(budget=9, strategy={"type": name})))
    return found


def kinds(table):
    return next(row.choices for row in ROWS if row.table == table and row.key == "type")


# Defaults that a table says in words.
IN_WORDS = {("windows", "stride"): 64, ("tasks", "name"): "questions", ("rescale.search", "weights"): [1, 1], ("reference", "dtype"): "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a model that has no weights: its experiments are read and resolved, and its cells fail without any work."""
    folder = tmp_path_factory.mktemp("docs")
    copy_of_tiny_books(folder / "model")
    for weights in (folder / "model").glob("*.safetensors*"):
        weights.unlink()
    return folder


def experiment_of_probe(folder, probe):
    model = TINY_BOOKS if probe.table == "tasks" else folder / "model"  # questions are counted before the run, for which they must be read
    config = {"model": {"path": str(model), "dtype": "float32"}, "data": {"path": str(TEXT)}, "windows": {"length": 64}} | probe.changes
    if probe.table == "model":
        config["model"] = {"path": str(folder / "model")}
    return yaml.safe_load(yaml.safe_dump(config))  # its own copy


@pytest.fixture(scope="module")
def refusals(run, folder):
    """refusals([(probe, change of the block)]) -> what `check` says of each, one run for all."""

    def check(changed):
        files = []
        for number, (probe, change) in enumerate(changed):
            config = experiment_of_probe(folder, probe)
            place = config
            for step in probe.place:
                place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
            change(place)
            files.append(folder / f"{number}.yaml")
            files[-1].write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        process = run("check", *files)
        said = {}
        for line in process.stderr.splitlines():
            if line.startswith(str(folder)):
                said.setdefault(line.split(":")[0], line)
        return [said.get(str(file), "") for file in files]

    return check


def test_plugins_of_tables_are_in_list(run):
    """Not the other way round: a plugin of one new file needs no edit of the documentation to leave all tests green."""
    tables = {"rope scheme": "rope", "quantizer": "Quantizers", "rescaling": "rescale", "search strategy": "Search strategies", "metric": "metrics",
              "task": "tasks", "diagnostic": "diagnostics"}
    listed = json.loads(run("list", "--format", "json").stdout)
    assert set(listed) == {*tables, "model family"}  # a family is named in no experiment
    for name, table in tables.items():
        assert kinds(table) and set(kinds(table)) <= {entry["name"] for entry in listed[name]}, name


def test_tables_have_the_keys_that_the_program_knows(refusals, folder):
    def add(place):
        place[UNKNOWN] = 1

    found, documented = {}, {}
    tried = probes(folder)
    for probe, line in zip(tried, refusals([(probe, add) for probe in tried]), strict=True):
        known = re.search(rf"{UNKNOWN}: unknown key; known keys: (.*)$", line)
        assert known, (probe, line)
        table = (probe.table, probe.kind, probe.prefix)
        found.setdefault(table, set()).update(known[1].split(", "))
        documented.setdefault(table, set()).update(row.key.removeprefix(probe.prefix) for row in probe.documented())
    documented["Top level", None, ""] -= {"include"}  # which is no key any more once the file is read
    found["rescale", "bands", ""] -= {"q", "k"}
    for prefix, quantizer in (("input.", "rtn"), ("key.", "nvfp4"), ("value.", "nvfp4")):  # these blocks are a quantizer's, too
        table = "quant: a rule" if prefix == "input." else "kv"
        documented[table, None, prefix] |= {row.key for row in ROWS if row.table == "Quantizers" and quantizer in row.of}
    assert documented == found
    for row in ROWS:
        for kind in row.of:
            assert (row.table, kind, row.key.rpartition(".")[0] + "." * ("." in row.key)) in found, row


def test_required_keys_are_missed(refusals, folder):
    tried = [(probe, row) for probe in probes(folder) for row in probe.documented() if row.default == "required"]
    said = refusals([(probe, lambda place, key=row.key.removeprefix(probe.prefix): place.pop(key)) for probe, row in tried])
    for (probe, row), line in zip(tried, said, strict=True):
        assert f"{row.key.removeprefix(probe.prefix)}: missing" in line, (row, line)


def test_choices_are_the_program_s(refusals, folder):
    def is_read(probe, row):
        if probe.changes in ({"kv": {}}, {"rotation": {}}):  # of type none, which reads no other key
            return False
        return row.key != "control" or "search" in probe.changes["rescale"]

    tried = [(probe, row) for probe in probes(folder) for row in probe.documented() if row.choices and is_read(probe, row)]

    def with_word(key):
        return lambda place: place.update({key: UNKNOWN})

    said = refusals([(probe, with_word(row.key.removeprefix(probe.prefix))) for probe, row in tried])
    for (_, row), line in zip(tried, said, strict=True):
        known = re.search(rf"unknown '{UNKNOWN}'; known: (.*)$", line)
        # A plugin of one new file that nobody has documented yet leaves all tests green.
        assert known and (set(row.choices) <= set(known[1].split(", ")) if row.key == "type" else known[1].split(", ") == row.choices), (row, line)


def test_bounds_are_the_program_s(refusals, folder):
    tried = []
    for probe in probes(folder):
        for row in probe.documented():
            for bound, sign in zip(row.bounds or [], (-1, 1)):
                tried.append((probe, row, bound + sign * max(1, abs(bound))))

    def with_number(key, number):
        return lambda place: place.update({key: int(number) if number == int(number) else number})

    said = refusals([(probe, with_number(row.key.removeprefix(probe.prefix), number)) for probe, row, number in tried])
    for (_, row, number), line in zip(tried, said, strict=True):
        stated = re.search(r"expected (?:auto or )?a number (?:from (\S+) to (\S+)|of at least (\S+)|of at most (\S+)), found", line)
        if stated:
            assert [float(text) for text in stated.groups() if text] == row.bounds, (row, line)
        else:  # a complaint in words
            assert row.key.rpartition(".")[2] in line, (row, number, line)


def test_defaults_are_those_of_resolved_yaml(run, folder, finished):
    tried = [probe for probe in probes(folder) if probe.table != "export"]  # which is no part of resolved.yaml
    good = {"model": {"path": str(TINY_BOOKS), "dtype": "float32", "device": "cpu"}, "data": {"path": str(TEXT), "documents": 1}}
    blocks = [{"seed": [1], **{path: [value] for path, value in good.items()}}]
    for number, probe in enumerate(tried):
        config = experiment_of_probe(folder, probe)
        blocks.append({"seed": [number + 2], **{path: [value] for path, value in config.items()}})  # the number says whose cell it is
    file = folder / "defaults.yaml"
    file.write_text(yaml.safe_dump({"windows": {"length": 64, "truncate": True}, "sweep": blocks}, sort_keys=False), encoding="utf-8")
    process = run("run", file, "--results", folder / "results")
    assert process.returncode == 1, process.stderr
    resolved = {}
    for cell, row in read_rows(folder / "results").items():
        assert (row["status"] == "ok") == (row["config"]["model"]["path"] == str(TINY_BOOKS)), row["error"]
        if row["axes"] == {path: values[0] for path, values in blocks[row["axes"]["seed"] - 1].items()}:  # not so a search's controls
            resolved[row["axes"]["seed"]] = yaml.safe_load((folder / "results/cells" / cell / "resolved.yaml").read_text(encoding="utf-8"))
    assert sorted(resolved) == list(range(1, len(blocks) + 1))
    seen = {("Top level", "seed", None), ("model", "weights", None)}  # the latter is no part of resolved.yaml
    for row in read_rows(finished[2]).values():
        assert row["config"]["seed"] == next(row.value for row in ROWS if (row.table, row.key) == ("Top level", "seed"))
    for number, probe in enumerate(tried):
        found = probe.block(resolved[number + 2])
        written = probe.block(experiment_of_probe(folder, probe))
        for row in probe.documented():
            key = row.key.removeprefix(probe.prefix)
            if key in written or (key == "seed" and probe.table == "Top level"):
                continue
            if row.default == "absent":
                assert key not in found, row
            elif key in found:
                expected = row.value if row.literal else IN_WORDS[row.table, row.key]
                assert found[key] == expected, (row, found[key])
                seen.add((row.table, row.key, probe.kind))
    unseen = {(row.table, row.key, kind) for row in ROWS for kind in row.of if row.default not in ("absent", "required") and row.table != "export"}
    assert unseen - seen == set()


def test_results_md_has_every_key_of_a_row_and_every_column(run, experiment, tmp_path):
    text = (REPO / "docs/results.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\n]+)`", text))
    question = tmp_path / "questions.jsonl"
    question.write_text(QUESTION, encoding="utf-8")
    search = {"data": {"path": str(TEXT), "skip": 1}, "lengths": [64], "short_length": 32, "guard": 1, "grid": {"points": 3},
              "strategy": {"type": "layerwise", "probes": 1}}
    file = experiment({
        "data.documents": 1, "windows": {"length": 128, "truncate": True}, "sweep": None,
        "metrics": ["perplexity", {"type": "nll_by_position", "last": 16}],
        "diagnostics": [{"type": name} | ({"short": 16} if name in ("tail_inflation", "dynamic_range") else {}) for name in kinds("diagnostics")],
        "tasks": [{"type": "passkey", "lengths": [96], "depths": [0], "samples": 1},
                  *({"type": name, "name": name, "path": str(question)} for name in ("multiple_choice", "qa"))],
        "rescale": {"type": "bands", "bands": 2, "search": search}})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    row = next(row for row in read_rows(tmp_path / "results").values() if "controls" in row)
    cell = tmp_path / "results/cells" / row["id"]
    assert {*row, *row["environment"], *row["environment"]["inputs"], *row["search"], *row["metrics"]["nll"]} - words == set()
    documented = dict(re.findall(r"^\| (`[^|]*) \| (`[^|]*) \|$", text, re.MULTILINE))
    for path in cell.rglob("*.csv"):
        name = f"`tasks/`, {path.stem}" if path.parent.name == "tasks" else f"`{path.relative_to(cell)}`"
        columns = [column.replace("nll_64", "nll_LENGTH") for column in path.read_text(encoding="utf-8").splitlines()[0].split(",")]
        assert re.findall(r"`([^`]+)`", documented[name]) == columns, name
