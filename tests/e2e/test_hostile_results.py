"""Results folders of others, under scripts/report.py, publish, paper and compare_rows: no link is followed, no path leads out, no text is markup."""
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from support.program import REPO, assert_one_line, read_rows

sys.path.insert(0, str(REPO / "scripts"))
from paper_run import show_cells  # noqa: E402
from paper_sizes import CannotMake  # noqa: E402
from reporting import build, markdown, rows  # noqa: E402
from reporting.content import Code, Note, Section, Text  # noqa: E402


def script(name):
    loader = SourceFileLoader(name, str(REPO / "scripts" / name))
    made = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(made)
    return made


publish = script("publish")


@pytest.fixture
def results(finished, tmp_path):
    return Path(shutil.copytree(finished[2], tmp_path / "results"))


def test_a_report_replaces_links_and_follows_none(results, tmp_path, binary, monkeypatch):
    target = tmp_path / "target"
    target.write_text("kept", encoding="utf-8")
    for name in ("report.md", f"report.md.{os.getpid()}.tmp"):
        (results / name).symlink_to(target)
    monkeypatch.setenv("QROAR_BINARY", str(binary))
    build.write_report(results, [], results, with_page=False)
    assert target.read_text(encoding="utf-8") == "kept" and (results / "report.md").is_file() and not (results / "report.md").is_symlink()
    shutil.rmtree(results / "pdf")
    (results / "pdf").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(SystemExit, match="is a link, which is not followed"):
        build.write_report(results, [], results, with_page=False)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_other(tmp_path):
    (tmp_path / "report.md").write_text("old", encoding="utf-8")
    script = ("import resource, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from reporting import build\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); build.write(Path(sys.argv[2]), 'x' * 1000)")
    process = subprocess.run([sys.executable, "-c", script, REPO / "scripts", tmp_path / "report.md"], capture_output=True, text=True)
    assert process.returncode == 1 and "File too large" in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"] and (tmp_path / "report.md").read_text(encoding="utf-8") == "old"


def test_paper_removes_its_own_links_alone(tmp_path):
    folder = tmp_path / "t1"
    (folder / "run").mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("kept", encoding="utf-8")
    (folder / "cells").symlink_to(tmp_path / "precious")
    (folder / "run/finished.yaml").write_text("a: 1", encoding="utf-8")
    for plan, said in (('{"cells": [{"id": "ab"}]}', "is a link, which is not followed"), ('{"cells": [{"id": "../../x"}]}', "no ids"), ("[]", "is not the plan"),
                       ("[" * 100_000, "is not the plan"), ('{"cells": 3}', "is not the plan")):
        (folder / "run/plan.json").write_text(plan, encoding="utf-8")
        with pytest.raises(CannotMake, match=said):
            show_cells(folder, "a: 1")
    assert (tmp_path / "precious/file").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "linked/a.png", "linked.png"])
def test_publish_copies_nothing_from_outside(tmp_path, name):
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "secret.png").write_text("secret", encoding="utf-8")
    (tmp_path / "a.png").write_text("secret", encoding="utf-8")
    (results / "linked").symlink_to(tmp_path)
    (results / "linked.png").symlink_to(tmp_path / "secret.png")
    for file in ("verdicts.json", "verdicts.md"):
        (results / file).write_text("", encoding="utf-8")
    (results / "report.md").write_text(f"![a]({name})\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="which is not followed"):
        publish.write_paper(results, [], tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.png"))


@pytest.mark.parametrize("name", ["../x", "/x", "..", ".git", ""])
def test_an_experiment_whose_name_leads_out_is_not_published(results, tmp_path, monkeypatch, name):
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(publish, "REPO", tmp_path / "repository")
    monkeypatch.setattr(publish, "check_checkout", lambda: None)
    monkeypatch.setattr(publish, "check_commit", lambda *_: None)
    monkeypatch.setattr(publish, "check_cells", lambda *_: None)
    monkeypatch.setattr(publish, "read_rows", lambda *_: [{"experiment": name}])
    monkeypatch.setattr(sys, "argv", ["publish", str(results)])
    with pytest.raises(SystemExit, match="no folder of published/ can be"):
        publish.main()
    assert (tmp_path / "x").is_dir()


@pytest.mark.parametrize("damage", [lambda row: row | {"axes": 3}, lambda row: row | {"config": None}, lambda row: {"id": row["id"]}, lambda row: row | {"id": "../x"}])
def test_rows_of_another_shape_are_one_line(tmp_path, results, damage):
    row = next(iter(read_rows(results).values()))
    (tmp_path / "rows.jsonl").write_text(json.dumps(damage(row)) + "\n", encoding="utf-8")
    command = [sys.executable, REPO / "scripts/compare_rows", tmp_path / "rows.jsonl", tmp_path / "rows.jsonl"]
    assert_one_line(subprocess.run(command, capture_output=True, text=True, check=False), "rows.jsonl: holds no rows")


def test_texts_of_others_are_no_markup_and_move_no_cursor():
    hostile = "# h ~~s~~ x^2^ \\ | `c` <b> & \x1b[2J\u202e\n- item"
    shown = rows.visible({hostile: [hostile, 3, None]})
    assert all(one.isprintable() for one in shown) and "\\x1b[2J\\u202e\\n- item" in next(iter(shown))
    (text,) = markdown.part(Text(next(iter(shown))))
    assert text.startswith("\\# h \\~\\~s\\~\\~ x\\^2\\^ \\\\ \\| \\`c\\` \\<b\\> &amp; ")
    for word in ("- a", "+ a", "1. a", "2) a", "[a]: http://b", "=== a", "#a"):
        (line,) = markdown.part(Text(word))
        assert line != f"{word}\n" and line.replace("\\", "") == f"{word}\n"
    assert markdown.part(Note("made at <img src=x> of `a<b`\n# no", "")) == ["made at \\<img src=x> of `a<b` # no\n"]
    assert markdown.part(Code("```\n<b>"))[0].startswith("````\n")
    assert markdown.render([Section("head", "a\nb", [])]).startswith("# a b\n")
