"""A headless Chromium that opens a page and answers through the DevTools protocol, over pipes (no package needed)."""
import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile

PROGRAM = shutil.which("chromium")


class Browser:
    """Counts what a page asks for and what it complains about: `requests`, `errors`."""

    def __init__(self, extra=()):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        high = lambda end: fcntl.fcntl(end, fcntl.F_DUPFD, 20)  # noqa: E731  (above 3 and 4, on which Chromium reads and writes)
        (theirs_in, ours_out), (ours_in, theirs_out) = (tuple(map(high, os.pipe())) for _ in range(2))
        command = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars", "--no-first-run",
                   "--disable-background-networking", f"--user-data-dir={self.profile.name}", *extra]
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.write, self.read = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self.number, self.session, self.buffer = 0, None, b""
        self.requests, self.errors = [], []

    def __enter__(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.write.close()
        self.read.close()
        self.profile.cleanup()

    def message(self):
        while b"\0" not in self.buffer:
            part = self.read.read1(1 << 20)
            assert part, "Chromium ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", params["exceptionDetails"]["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        return message

    def ask(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        self.write.write(json.dumps(request).encode() + b"\0")
        self.write.flush()
        while (answer := self.message()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path, width=1280, dark=False):
        """Opens a file and waits until its figures are drawn."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Page.navigate", url=f"file://{path}")
        while self.message().get("method") != "Page.loadEventFired":
            pass
        self.run("window.drawn")

    def run(self, expression):
        """Returns the value of an expression in the page, of a promise when it is kept."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file, whole=True):
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self):
        return base64.b64decode(self.ask("Page.printToPDF")["data"])
