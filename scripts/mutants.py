"""The mutants of tests/mutants, for scripts/mutate: one-line errors that tests must find, each with the tests that are expected to.

A file holds a list of maps:
  name    unique in all files
  file    the source file
  old     a fragment of one of its lines, which occurs once in the file
  new     what stands in its place
  sense   one sentence: what the program then does
  tests   {unit: PATTERN, lm: PATTERN, pytest: FILE[::TEST]}, each one or a list, which are run first; PATTERN: a tag of Catch2 in brackets, or
          the name of a case, with * at its ends
  argued  why it is no error when no test finds it; left out of nearly all
"""
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[1]
KEYS = {"name", "file", "old", "new", "sense", "tests"}
# The folders of each Catch2 program.
CATCH = {"unit": ["unit"], "lm": ["lm", "conformance", "parity"]}


@dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str
    sense: str
    tests: dict  # {kind: [pattern]}
    argued: str = ""

    @property
    def is_python(self):
        return self.file.startswith("scripts/")

    def applied(self, text):
        return text.replace(self.old, self.new)


def read_mutants():
    """Returns all mutants in the order of files; ValueError says what is wrong with an entry."""
    found = []
    for path in sorted((REPO / "tests/mutants").glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            if not isinstance(entry, dict) or set(entry) - {"argued"} != KEYS or not isinstance(entry["tests"], dict):
                raise ValueError(f"{path}: {entry!r:.80}: needs {', '.join(sorted(KEYS))}")
            tests = {kind: [one] if isinstance(one, str) else one for kind, one in entry["tests"].items()}
            found.append(Mutant(**entry | {"tests": tests}))
    return found


def named_tests(mutants):
    """Returns the tests that all these name, each once."""
    tests = {}
    for kind, pattern in ((kind, pattern) for one in mutants for kind, patterns in one.tests.items() for pattern in patterns):
        tests.setdefault(kind, {})[pattern] = None
    return {kind: list(patterns) for kind, patterns in tests.items()}


def cases_of(kind):
    """Returns the (name, tags) of all cases of a Catch2 program."""
    literals = r'(?:"(?:[^"\\]|\\.)*"\s*)+'
    found = []
    for folder in CATCH[kind]:
        for path in sorted((REPO / "tests" / folder).glob("*.cpp")):
            for name, tags in re.findall(rf"TEST_CASE(?:_METHOD)?\((?:\w+,)?\s*({literals})(?:,\s*({literals}))?\)", path.read_text(encoding="utf-8")):
                text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', name)).replace('\\"', '"')
                found.append((text, re.findall(r"\[[^\]]+\]", tags)))
    return found


def is_test(kind, pattern, cases):
    """Returns whether a test of that name exists; `cases`: those of the kind, as of cases_of()."""
    if kind == "pytest":
        file, *names = pattern.split("::")
        path = REPO / file
        return path.is_file() and all(re.search(rf"^def {re.escape(name.partition('[')[0])}\(", path.read_text(encoding="utf-8"), re.M) for name in names)
    if pattern.startswith("["):
        return any(pattern in tags for _, tags in cases)
    if re.search(r'[,"\[\]]', pattern):  # which Catch2 reads as something else
        return False
    inner = re.escape(pattern.strip("*"))
    whole = ("" if pattern.startswith("*") else "^") + inner + ("" if pattern.endswith("*") else "$")
    return any(re.search(whole, name, re.IGNORECASE) for name, _ in cases)


def problems_of(mutants):
    """Returns what is wrong with the list, a line each."""
    cases = {kind: cases_of(kind) for kind in CATCH}
    problems = []
    for number, one in enumerate(mutants):
        path = REPO / one.file
        count = path.read_text(encoding="utf-8").count(one.old) if path.is_file() else -1
        if count != 1:
            problems.append(f"{one.name}: {one.file} has the fragment {count} times" if count >= 0 else f"{one.name}: no file {one.file}")
        if "\n" in one.old + one.new or one.old == one.new:
            problems.append(f"{one.name}: old and new are one line each, and differ")
        if one.name in [other.name for other in mutants[:number]]:
            problems.append(f"{one.name}: stands twice")
        if not one.tests or (one.is_python and set(one.tests) != {"pytest"}):
            problems.append(f"{one.name}: needs tests, one of scripts/ those of pytest")
        for kind, patterns in one.tests.items():
            if kind not in (*CATCH, "pytest"):
                problems.append(f"{one.name}: tests are of unit, lm or pytest, not of {kind}")
            else:
                problems += [f"{one.name}: no test {kind} {pattern!r}" for pattern in patterns if not is_test(kind, pattern, cases.get(kind))]
    return problems
