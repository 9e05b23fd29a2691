"""Starts a sandbox as a process of its own."""

from __future__ import annotations

import atexit
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from sandbox.control_client import Sandbox

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
SAID = "sandbox listens on "


@dataclasses.dataclass
class Handle:
    """A sandbox that runs.

    Args:
        url: base URL of its Graph API.
        control: client of its control API.
        process: the process.
    """

    url: str
    control: Sandbox
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """End it gracefully, by force if it does not obey; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as a crash would; return its exit code."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        atexit.unregister(self.stop)
        self.control.close()
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(journal: Path | str | None = None, seed: int = 0, port: int = 0, host: str = "127.0.0.1") -> Handle:
    """Start a sandbox and return once it answers.

    Args:
        journal: file that keeps its state over restarts.
        seed: of everything random.
        port: to listen on; 0 takes a free one.
        host: to listen on.

    Raises:
        RuntimeError: It ended, or did not listen in time.
    """
    command = [sys.executable, "-m", "sandbox", "--host", host, "--port", str(port), "--seed", str(seed)]
    if journal is not None:
        command += ["--journal", str(journal)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    )
    said = _first_line(process)
    if not said.startswith(SAID):
        Handle("", Sandbox(""), process).kill()
        raise RuntimeError("the sandbox did not listen; what it says is on standard error")
    url = said.removeprefix(SAID).strip()
    handle = Handle(url, Sandbox(url), process)
    atexit.register(handle.stop)  # a caller that breaks off leaves nothing behind
    return handle


def _first_line(process: subprocess.Popen[str]) -> str:
    lines: queue.Queue[str] = queue.Queue()
    stream = process.stdout
    if stream is None:
        return ""
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START_TIMEOUT_S)
    except queue.Empty:
        return ""
