"""Public git repositories, made of the texts that are read from them: what scripts/fetch_data.json names, under a folder for QROAR_GIT_BASE."""
import json
import os
import subprocess

IDENTITY = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
            "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}


def git(folder, *arguments):
    process = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True, env=os.environ | IDENTITY)
    return process.stdout.strip()


def make_repository(base, name, files):
    """(commit, tree) of a repository with {path: content}, served as GitHub does; a later commit takes the files away again."""
    folder = base / name
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    git(folder, "add", "-A", "-f")
    git(folder, "-c", "core.autocrlf=false", "commit", "-q", "-m", "the texts")
    pinned = git(folder, "rev-parse", "HEAD"), git(folder, "rev-parse", "HEAD^{tree}")
    git(folder, "rm", "-r", "-q", "--", ".")
    git(folder, "commit", "-q", "-m", "nothing is left")
    for key in ("allowFilter", "allowAnySHA1InWant"):
        git(folder, "config", f"uploadpack.{key}", "true")
    return pinned


def files_of(part, rows):
    """{path: content} of a part, from the documents that were made of it."""
    paths = [f"{folder}/{name}" if folder else name for folder, names in part["files"].items() for name in names]
    if part.get("format") == "leval":
        lines = [json.dumps({"instructions": ["Summarize."], "outputs": [row["summary"]], "input": row["text"]}) for row in rows]
        return {paths[0]: "\n".join(lines).encode()}
    texts = {row["id"]: row["text"] for row in rows}
    made = {}
    for path in paths:
        place = path.replace("**", "some/folder")
        stem = place.rpartition("/")[2].rpartition(".")[0]
        made[place] = texts[part["id"].format(path=place, stem=stem)].encode()
    return made


def make_sources(base, table, rows_of):
    """The table with the commits and trees of repositories made in `base`, so that every text can be fetched there; rows_of(file) gives its
    documents.  A commit that was shortened is again."""
    table = json.loads(json.dumps(table))
    wanted = {}
    for file, entry in table["files"].items():
        for part in entry["parts"]:
            wanted.setdefault(part["repository"], {}).update(files_of(part, rows_of(file)))
    made = {name: make_repository(base, name, files) for name, files in wanted.items()}
    for entry in table["files"].values():
        for part in entry["parts"]:
            commit, tree = made[part["repository"]]
            part.update({"tree": tree} if "tree" in part else {"commit": commit[:len(part["commit"])]})
    return table
