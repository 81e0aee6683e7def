"""tests/mutants: every fragment is where it is said to be and every test exists, so that scripts/mutate can run them; and that script on an error
that needs no build."""
import dataclasses
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
from mutants import Mutant, problems_of, read_mutants  # noqa: E402

MUTANTS = read_mutants()
GOOD = next(one for one in MUTANTS if one.name == "interval_of_90_percent")


@pytest.fixture
def script(tmp_path, monkeypatch, binary):
    """scripts/mutate with a copy of its own."""
    loader = SourceFileLoader("mutate", str(REPO / "scripts/mutate"))
    made = module_from_spec(spec_from_loader("mutate", loader))
    loader.exec_module(made)
    for name, place in (("WORK", ""), ("TREE", "tree"), ("LOG", "log.txt"), ("BUILD", "tree/build/ci")):
        monkeypatch.setattr(made, name, tmp_path / place)
    monkeypatch.setenv("QROAR_BINARY", str(binary))
    return made


def ended(script, monkeypatch, *arguments):
    """Returns the exit code of a call, or what it complains of."""
    monkeypatch.setattr(sys, "argv", ["mutate", *arguments])
    with pytest.raises(SystemExit) as end:
        script.main()
    return end.value.code


def test_every_fragment_stands_once_and_every_test_exists():
    assert problems_of(MUTANTS) == []


def test_there_are_errors_in_every_folder():
    folders = {path.name for path in (REPO / "src").iterdir() if path.is_dir()}
    assert len(MUTANTS) >= 80
    assert {one.file.split("/")[1] for one in MUTANTS} >= folders | {"reporting"}
    assert sum(bool(one.argued) for one in MUTANTS) <= 2


@pytest.mark.parametrize(("change", "problem"), [
    ({"old": "kLevel = 0.06,"}, "src/base/interval.cpp has the fragment 0 times"),
    ({"old": "double", "new": "float"}, "src/base/interval.cpp has the fragment "),
    ({"file": "src/base/intervals.cpp"}, "no file src/base/intervals.cpp"),
    ({"new": GOOD.old}, "old and new are one line each, and differ"),
    ({"new": "kLevel =\n0.1,"}, "old and new are one line each, and differ"),
    ({"tests": {}}, "needs tests"),
    ({"tests": {"ctest": ["unit"]}}, "tests are of unit, lm or pytest, not of ctest"),
    ({"tests": {"unit": ["[intervals]"]}}, "no test unit '[intervals]'"),
    ({"tests": {"unit": ["95 of 100 intervals"]}}, "no test unit '95 of 100 intervals'"),  # without a star it is the whole name
    ({"tests": {"lm": ["[interval]"]}}, "no test lm '[interval]'"),
    ({"tests": {"unit": ["95 of 100 intervals reach so far, a test*"]}}, "no test unit"),  # Catch2 takes the comma for "or"
    ({"tests": {"pytest": ["tests/e2e/test_run.py::test_nothing"]}}, "no test pytest 'tests/e2e/test_run.py::test_nothing'"),
    ({"tests": {"pytest": ["tests/e2e/test_nothing.py"]}}, "no test pytest 'tests/e2e/test_nothing.py'"),
    ({"file": "scripts/mutants.py", "old": "class Mutant:", "new": "class Other:"}, "one of scripts/ those of pytest"),
])
def test_what_no_longer_fits_is_named(change, problem):
    found = problems_of([dataclasses.replace(GOOD, **change)])
    assert len(found) == 1 and found[0].startswith(f"{GOOD.name}: ") and problem in found[0], found
    assert problems_of([GOOD, GOOD]) == [f"{GOOD.name}: stands twice"]


def test_an_error_that_needs_no_build_is_put_into_the_copy_alone_and_found(script, monkeypatch, capsys):
    before = (REPO / "scripts/reporting/rows.py").read_bytes()
    assert ended(script, monkeypatch, "star_of_all") == 0
    assert capsys.readouterr().out.startswith("1/1 killed star_of_all: tests/e2e/test_report_answer.py::test_an_effect_is_said")
    copy = script.TREE / "scripts/reporting/rows.py"
    assert (REPO / "scripts/reporting/rows.py").read_bytes() == copy.read_bytes() == before
    copy.write_text("left by a call that was killed", encoding="utf-8")
    (script.TREE / "scripts/left.py").write_text("", encoding="utf-8")
    script.copy_tree()
    assert copy.read_bytes() == before and not (script.TREE / "scripts/left.py").exists()


def test_an_error_that_no_test_finds_survives_unless_that_is_argued(script, monkeypatch, capsys):
    test = {"pytest": ["tests/e2e/test_report_answer.py::test_the_largest_effect_of_each_configuration_is_said"]}
    one = Mutant("near", "scripts/reporting/pareto.py", "NEAR = 0.06 ", "NEAR = 0.060 ", "Nothing.", test)
    monkeypatch.setitem(script.BROAD, True, test)
    for argued, code, said in (("", 1, "1/1 SURVIVED near: Nothing."), ("it is the same number", 0, "1/1 argued near: it is the same number")):
        monkeypatch.setattr(script, "read_mutants", lambda why=argued: [dataclasses.replace(one, argued=why)])
        assert ended(script, monkeypatch) == code
        assert capsys.readouterr().out.startswith(said)


def test_a_sample_is_that_of_its_seed_and_an_unknown_name_is_one_line(script, monkeypatch):
    names = lambda *arguments: [one.name for one in script.chosen(MUTANTS, *arguments)]  # noqa: E731
    assert names(["5"], 0) == names(["5"], 0) != names(["5"], 1) and len(set(names(["5"], 0))) == 5
    assert names(["interval_of_9", "star"], 0) == ["interval_of_90_percent", "star_of_all"] and len(names([], 0)) == len(MUTANTS)
    assert ended(script, monkeypatch, "star_of_none") == "mutate: no error is called star_of_none; tests/mutants names them"
