"""scripts/qroar.def: there is no Apptainer here to build it, so its shell is parsed, and what it names is looked for."""
import re
import subprocess

import pytest

from support.program import REPO

DEFINITION = (REPO / "scripts/qroar.def").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", DEFINITION, re.M | re.S))


@pytest.mark.parametrize("section", ["post", "environment", "test", "runscript"])
def test_sections_are_posix_shell(section):
    """Apptainer runs %post with sh -e."""
    subprocess.run(["shellcheck", "--shell=sh", "-"], input="set -e\n" + SECTIONS[section], text=True, check=True)


def test_what_it_runs_is_in_the_repository():
    scripts = re.findall(r"scripts/[a-z]\w*", SECTIONS["post"])
    assert scripts == ["scripts/setup", "scripts/build"]
    for script in scripts:
        assert (REPO / script).stat().st_mode & 0o111


def test_it_runs_what_it_builds():
    folder, = re.findall(r"\.git (/\S+)/\.git", SECTIONS["files"])
    preset, target = re.search(r"scripts/build (\w+) (\w+)", SECTIONS["post"]).groups()
    assert f"cd {folder}\n" in SECTIONS["post"]
    assert f"exec {folder}/build/{preset}/{target} " in SECTIONS["runscript"]
    assert f"{folder}/build/{preset}/{target} list" in SECTIONS["test"]
    assert f'PATH="{folder}/build/{preset}:' in SECTIONS["environment"]
