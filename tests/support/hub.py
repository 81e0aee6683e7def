"""A Hugging Face hub on this machine: a folder of models, each at one commit, with the answers that huggingface_hub asks for."""
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """`models`: {"owner/model": folder}.  `gated`: those whose licence nobody has accepted.  `asked`: (method, file, first byte) in order.
    `sizes`: {file: bytes} that the hub says instead of the file's own."""

    def __init__(self, models, gated=(), commit=COMMIT):
        self.models, self.gated, self.commit = models, set(gated), commit
        self.asked, self.sizes = [], {}
        self.stall_behind = None  # bytes of a weight file; the connection then stands still
        self.url = None

    def files(self, model):
        """[(file, bytes)] of a model."""
        found = {str(file.relative_to(self.models[model])): file.stat().st_size for file in sorted(self.models[model].rglob("*")) if file.is_file()}
        return (found | self.sizes).items()

    def info(self, model):
        return {"id": model, "modelId": model, "sha": self.commit, "private": False, "gated": "manual" if model in self.gated else False,
                "siblings": [self.sibling(self.models[model] / name, name, size) for name, size in self.files(model)]}

    @staticmethod
    def sibling(file, name, size):
        """Weights are large files, which the hub names by SHA-256; it names the others as git does."""
        content = file.read_bytes()
        found = {"rfilename": name, "size": size, "blobId": hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()}
        if name.endswith((".safetensors", ".bin")):
            found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return found


def handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def refuse(self, status, code):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            path = self.path.partition("?")[0]
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                return self.answer_info(*listed.groups(), with_body)
            if file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self.answer_file(*file.groups(), with_body)
            return self.refuse(404, "EntryNotFound")

        def answer_info(self, model, revision, with_body):
            if model not in hub.models:
                return self.refuse(404, "RepoNotFound")
            if revision not in (None, "main", hub.commit):
                return self.refuse(404, "RevisionNotFound")
            body = json.dumps(hub.info(model)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def answer_file(self, model, _revision, name, with_body):
            if model in hub.gated:
                return self.refuse(403, "GatedRepo")
            content = (hub.models[model] / name).read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            begin = int(asked[1]) if asked else 0
            hub.asked.append((self.command, name, begin))
            self.send_response(206 if asked else 200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - begin))
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not with_body:
                return
            if hub.stall_behind is not None and len(content) > hub.stall_behind > begin:
                self.wfile.write(content[begin:hub.stall_behind])
                self.wfile.flush()
                while hub.stall_behind is not None:
                    time.sleep(0.05)
                return
            self.wfile.write(content[begin:])

    return Handler


@contextmanager
def serve(hub):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.stall_behind = None
        server.shutdown()
        server.server_close()
