"""A page in Debian's Chromium without a window, told what to do over its debugging pipe: no driver, no port, no network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
OPTIONS = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    ),
    *(
        "--disable-background-networking",
        "--disable-extensions",
        "--disable-component-update",
        "--remote-debugging-pipe",
    ),
)
# Chromium reads commands from file 3 and writes to 4; both ends may have these numbers already, the other way round.
LAUNCHER = """
import os, sys
ends = [os.dup(int(number)) for number in sys.argv[1:3]]
ends = [os.dup(end) if end < 5 else end for end in ends]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 30.0  # seconds
CODES = {" ": "Space", "Enter": "Enter"}


class Browser:
    """One page. Methods wait until the browser has done what it was told."""

    def __init__(self, process: subprocess.Popen[bytes], send: int, receive: int, downloads: Path) -> None:
        self.process, self.send, self.receive = process, send, receive
        self.downloads, self.buffer, self.number, self.session = downloads, b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def read(self) -> dict[str, Any]:
        """The next message; events are remembered."""
        while b"\0" not in self.buffer:
            part = os.read(self.receive, 1 << 20)
            assert part, "the browser is gone"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, place: Path | str) -> None:
        """A file, or an address."""
        self.events.clear()
        self.command("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        self._loaded()

    def reload(self) -> None:
        self.events.clear()
        self.command("Page.reload")
        self._loaded()

    def _loaded(self) -> None:
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.read()

    def value(self, expression: str) -> Any:
        """What JavaScript says, as JSON; promises are waited for."""
        found = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)
        return found

    def press(self, *keys: str, shift: bool = False, ctrl: bool = False) -> None:
        for key in keys:
            event = {"key": key, "code": CODES.get(key, key), "modifiers": 8 * shift + 2 * ctrl}
            text = "" if ctrl else {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
            self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, selector: str, shift: bool = False, times: int = 1) -> None:
        """In the middle of the element, as a mouse does."""
        at = self.value(f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
                        "return {x: b.x + b.width / 2, y: b.y + b.height / 2}; })()")  # fmt: skip
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                options = {"button": "left", "clickCount": count, "modifiers": 8 * shift}
                self.command("Input.dispatchMouseEvent", type=kind, **at, **options)

    def drag(self, *points: tuple[float, float], button: str = "left") -> None:
        """From the first of `points` (CSS pixels) over the others to the last one, with a button down."""
        for kind, (x, y) in (
            ("mousePressed", points[0]),
            *(("mouseMoved", p) for p in points[1:]),
            ("mouseReleased", points[-1]),
        ):
            buttons = {"buttons": 1 if button == "left" else 2} if kind == "mouseMoved" else {}
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1, **buttons)

    def downloaded(self, name: str) -> Path:
        """The file, once it is complete."""
        path, end = self.downloads / name, time.monotonic() + PATIENCE
        while not path.exists() or list(self.downloads.glob("*.crdownload")):
            assert time.monotonic() < end, f"{name} was never saved"
            time.sleep(0.02)
        return path

    def complaints(self) -> list[str]:
        """What the browser's console has to say: errors, and what the page's policy has refused."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def asked_for(self) -> list[str]:
        """Addresses that were asked for since the page was opened, those inside of it left out."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


@contextmanager
def browser(folder: Path, width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A browser of its own, with an empty profile below `folder`."""
    assert CHROMIUM is not None
    (folder / "downloads").mkdir(parents=True, exist_ok=True)
    theirs, send = os.pipe()
    receive, ours = os.pipe()
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
    launch = [sys.executable, "-c", LAUNCHER, str(theirs), str(ours), *command]
    process = subprocess.Popen(launch, pass_fds=(theirs, ours), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(theirs)
    os.close(ours)
    page = None
    try:
        page = Browser(process, send, receive, folder / "downloads")
        yield page
    finally:
        try:
            if page is not None:
                page.command("Browser.close")
            process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        os.close(send)
        os.close(receive)
