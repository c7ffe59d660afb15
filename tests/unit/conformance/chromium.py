"""A real browser for the pages: headless Chromium, spoken to through two pipes with its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 60  # for one answer


class Page:
    """One page of a browser. `complaints` are errors on its console, and exceptions."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers, self._rest, self._number, self._session = orders, answers, b"", 0, ""
        self.complaints: list[str] = []
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.order(f"{domain}.enable")

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One order, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, path: Path, fragment: str = "") -> None:
        self.order("Page.navigate", url="about:blank")  # a new fragment alone would not load anything
        self.order("Page.navigate", url=path.as_uri() + fragment)
        end = time.monotonic() + SECONDS
        while self.value("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < end, "the page doesn't load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is, as JSON."""
        answer = self.order("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        for key in keys:
            named = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32}
            code = named.get(key) or (ord(key.upper()) if key.isalnum() else 0)
            text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            event = {"key": " " if key == "Space" else key, "windowsVirtualKeyCode": code}
            self.order("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
            self.order("Input.dispatchKeyEvent", type="keyUp", **event)

    def emulate(
        self, width: int = 1200, height: int = 900, scheme: str = "light", script: bool = True
    ) -> None:
        self.order(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.order("Emulation.setEmulatedMedia", features=features)
        self.order("Emulation.setScriptExecutionDisabled", value=not script)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.order("Page.captureScreenshot")["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 20)
            assert part, "chromium has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(event["params"]["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] in (
            "error",
            "warning",
        ):
            self.complaints.append(event["params"]["entry"]["text"])


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with one page, whose profile is in this folder; it has ended at the end."""
    assert PROGRAM
    order_end, orders = os.pipe()
    answers, answer_end = os.pipe()
    flags = f"--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir={folder}"

    def pipes() -> None:  # the program expects them as 3 and 4
        low, high = os.dup2(order_end, 103), os.dup2(answer_end, 104)
        os.dup2(low, 3)
        os.dup2(high, 4)

    program = subprocess.Popen(
        [PROGRAM, *flags.split(), "--remote-debugging-pipe", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pipes,
        close_fds=False,
    )
    os.close(order_end)
    os.close(answer_end)
    try:
        yield Page(orders, answers)
    finally:
        os.close(orders)  # at the end of its orders it ends
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        os.close(answers)
