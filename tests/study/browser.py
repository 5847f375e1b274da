"""Debian's chromium without a window and without a network, driven over a pipe by the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes import HANGS, started

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
# The DevTools protocol reads commands at descriptor 3 and answers at 4, each ended by a zero byte.
_COMMAND = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
_OPTIONS = (
    "--headless --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-extensions --disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars --force-color-profile=srgb"
).split()
# Every name leads to nowhere, and every address to a proxy that is not there.
_NOWHERE = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"]


class Browser:
    """One page of a running browser; `said` collects console messages and errors, `asked` the addresses of requests."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._count, self._rest, self._session = 0, b"", None
        self.said: list[str] = []
        self.asked: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, path: Path, width: int = 1200, dark: bool = False, scripts: bool = True) -> None:
        """Load a file and wait until it stands."""
        self.said, self.asked = [], []
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.darken(dark)
        self._loaded = False
        self.call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._heed(self._message())

    def darken(self, dark: bool) -> None:
        """Prefer a dark page, or a light one."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """Return the value of JavaScript, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression holds; browsers tell of some changes a moment later."""
        self.evaluate(
            f"new Promise((done) => {{ const look = () => {condition} ? done() : setTimeout(look, 5); look(); }})"
        )

    def press(self, *keys: str) -> None:
        """Press keys, as a person does."""
        for key in keys:
            for kind in ("rawKeyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a person does."""
        element = f"document.querySelector({json.dumps(selector)})"
        # What lies under the pointer is what was painted last: two frames after scrolling all is where it looks to be.
        x, y = self.evaluate(
            f"new Promise((done) => {{ {element}.scrollIntoView({{ block: 'center', behavior: 'instant' }});"
            " requestAnimationFrame(() => requestAnimationFrame(() => {"
            f" const b = {element}.getBoundingClientRect(); done([b.x + b.width / 2, b.y + b.height / 2]); }})); }})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """Return the whole page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while True:
            answer = self._message()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._heed(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            pipe = self._process.stdout.fileno()
            ready, _, _ = select.select([pipe], [], [], HANGS)
            chunk = os.read(pipe, 1 << 20) if ready else b""
            assert chunk, "the browser has ended"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _heed(self, event: dict[str, Any]) -> None:
        method, found = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(found["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value", one.get("description"))) for one in found["args"]))
        elif method == "Runtime.exceptionThrown":
            details = found["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.said.append(found["entry"]["text"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    assert CHROMIUM is not None
    command = ["sh", "-c", _COMMAND, "sh", CHROMIUM, *_OPTIONS, *_NOWHERE, f"--user-data-dir={profile}", "about:blank"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started(command, stderr=subprocess.DEVNULL, **pipes) as process:
        yield Browser(process)
