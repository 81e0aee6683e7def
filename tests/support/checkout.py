"""A checkout that scripts/publish is tried in."""
import json
import os
import shutil
import subprocess
import sys

from support.program import REPO, assert_one_line, read_rows


class Checkout:
    """A small repository of its own with scripts/publish and results that its commit made."""

    def __init__(self, folder, binary, results, place="results/small"):
        self.folder, self.results = folder, folder / place
        self.environment = os.environ | {"QROAR_BINARY": str(binary), "HOME": str(folder)}
        (folder / "scripts").mkdir(parents=True)
        for file in ("json_lines.py", "publish", "report.py"):
            shutil.copy(REPO / "scripts" / file, folder / "scripts")
        shutil.copytree(REPO / "scripts/reporting", folder / "scripts/reporting", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPO / ".gitignore", folder)
        self.git("init", "-q", "-b", "main")
        self.commit()
        shutil.copytree(results, self.results, symlinks=True)
        self.stamp(self.head())

    def git(self, *arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True, env=self.environment).stdout

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a commit")

    def head(self):
        return self.git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").strip()

    def change_rows(self, change):
        for row in read_rows(self.results).values():
            change(row)
            (self.results / "cells" / row["id"] / "row.json").write_text(json.dumps(row), encoding="utf-8")

    def stamp(self, commit):
        self.change_rows(lambda row: row["environment"].update(commit=commit))

    def publish(self, *arguments):
        command = [sys.executable, self.folder / "scripts/publish", self.results, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=self.environment, check=False)

    def published(self):
        return sorted(str(path.relative_to(self.folder / "published")) for path in self.folder.glob("published/**/*") if path.is_file())

    def refused(self, *parts):
        before = self.published()
        assert_one_line(self.publish(), "publish: ", *parts)
        assert self.published() == before
