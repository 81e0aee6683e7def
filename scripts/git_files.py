"""Fetches files of a public git repository at a pinned commit without the rest of it: first the trees, then the requested contents in one
request (git's partial clones).  A repository is fetched into a temporary folder, which is renamed when it is complete."""
import os
import shutil
import subprocess
import sys

from json_lines import BadInput

FULL_HASH = 40


def base():
    return os.environ.get("QROAR_GIT_BASE", "https://github.com").rstrip("/")


class Repository:
    """A bare repository with some of the remote repository's objects."""

    def __init__(self, folder, part, lock):
        self.folder, self.lock = folder, lock
        self.url = f"{base()}/{part['repository']}"
        self.root = part.get("commit") or part["tree"]
        self.is_tree = "tree" in part

    def git(self, *arguments, stdin=b""):
        """Returns the output of a git command, which never prompts on the terminal and aborts a connection without data for a minute."""
        command = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", "--git-dir", self.folder, *arguments]
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            process = subprocess.run(command, input=stdin, capture_output=True, env=environment, pass_fds=[self.lock.fileno()], check=False)
        except FileNotFoundError as error:
            raise BadInput("git is not installed; apt-get install git") from error
        if process.returncode != 0:
            raise BadInput(self.explained(process.stderr.decode("utf-8", errors="replace")))
        return process.stdout

    def explained(self, stderr):
        if any(words in stderr for words in ("not our ref", "Needed a single revision", "remote ref", "unadvertised object")):
            return f"{self.url}: no longer has {self.root}; take the text from a folder with it (QROAR_DATA), see docs/data.md"
        told = [line.removeprefix("fatal: ") for line in stderr.splitlines() if line.startswith(("fatal: ", "error: ", "remote: "))]
        return (f"{self.url}: cannot be fetched ({told[0] if told else 'git fails and does not say why'}); run it again with a network, "
                "or name a folder with the texts in QROAR_DATA")

    def begin(self):
        self.git("init", "-q", "--bare")
        for key, value in (("url", self.url), ("promisor", "true"), ("partialclonefilter", "blob:none")):
            self.git("config", f"remote.origin.{key}", value)

    def fetch_objects(self, hashes):
        """Fetches missing objects as git does for a partial clone, but all at once; trees come with their subtrees but without contents."""
        self.git("-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no",
                 "--filter=blob:none", "--stdin", "origin", stdin="".join(f"{name}\n" for name in hashes).encode())

    def fetch_trees(self):
        """Fetches the pinned tree and returns its hash."""
        tree = self.root
        if not self.is_tree and len(self.root) == FULL_HASH:
            self.git("fetch", "-q", "--depth=1", "--filter=blob:none", "--no-tags", "--no-write-fetch-head", "origin", self.root)
        elif self.is_tree:
            self.fetch_objects([tree])
        else:
            # A server does not resolve an abbreviated hash: fetch the list of all commits, without their contents.
            self.git("fetch", "-q", "--filter=tree:0", "--no-tags", "origin", "+refs/heads/*:refs/heads/*")
            commit = self.git("rev-parse", "--verify", f"{self.root}^{{commit}}").decode().strip()
            tree = self.git("log", "-1", "--format=%T", commit).decode().strip()
            self.fetch_objects([tree])
        return tree

    def find(self, tree, paths):
        """Returns {path: the hash of its content}, in the order of the paths; FOLDER/**/NAME matches in all folders below FOLDER."""
        listed = {}
        for line in self.git("ls-tree", "-r", "-z", tree).decode("utf-8", errors="surrogateescape").split("\0")[:-1]:
            about, _, path = line.partition("\t")
            listed[path] = about.split()[2]
        found = {}
        for path in paths:
            matches = [path] if path in listed else []
            if "**/" in path:
                folder, _, name = path.partition("**/")
                matches = [other for other in listed if other.startswith(folder) and other.endswith(f"/{name}")]
            if len(matches) != 1:
                raise BadInput(f"{self.url}: has {len(matches)} files {path} at {self.root}, not one; see docs/data.md")
            found[matches[0]] = listed[matches[0]]
        return found

    def contents(self, hashes):
        out = self.git("cat-file", "--batch", stdin="".join(f"{name}\n" for name in hashes).encode())
        for _ in hashes:
            head, _, out = out.partition(b"\n")
            size = int(head.split()[2])
            yield out[:size]
            out = out[size + 1:]


def read_files(part, paths, cache, lock):
    """Returns [(path, content)] of a part of fetch_data.json, in the order of the paths."""
    name = f"{part['repository'].replace('/', '--')}-{part.get('commit') or part['tree']}"
    whole, unfinished = cache / name, cache / f"{name}.unfinished"
    repository = Repository(whole, part, lock)
    if not whole.is_dir():
        print(f"fetch_data: {len(paths)} files of {repository.url}", file=sys.stderr, flush=True)
        shutil.rmtree(unfinished, ignore_errors=True)  # of a fetch that was killed
        cache.mkdir(parents=True, exist_ok=True)
        repository.folder = unfinished
        repository.begin()
        tree = repository.fetch_trees()
        found = repository.find(tree, paths)
        repository.fetch_objects(dict.fromkeys(found.values()))
        (unfinished / "qroar-tree").write_text(tree, encoding="ascii")
        unfinished.rename(whole)
        repository.folder = whole
    found = repository.find((whole / "qroar-tree").read_text(encoding="ascii"), paths)
    return list(zip(found, repository.contents(list(found.values()))))
