"""``python -m sandbox.measure``: how many batched sends a second one core of the sandbox takes.

The sandbox is held on one core; a client of several threads, prepared beforehand, sends batches of 50 by token. Both
figures are told: sends a second of wall time, and a second of the sandbox's own CPU, which does not suffer from
whatever else the machine does.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil

from sandbox.process import Handle, start

BATCH = 50
ENOUGH = 10_000


@dataclasses.dataclass
class Client:
    """One thread that sends prepared batches.

    Args:
        address: host and port.
        headers: of each call.
        bodies: prepared batches.
        accepted: messages the platform accepted.
    """

    address: str
    headers: dict[str, str]
    bodies: list[bytes]
    accepted: int = 0

    def run(self) -> None:
        """Send everything."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        for body in self.bodies:
            connection.request("POST", "/v26.0/", body, self.headers)
            self.accepted += connection.getresponse().read().count(b"message_id")
        connection.close()


def measure(sends: int = 50_000, threads: int = 4, *, journal: bool = True, form: bool = True) -> dict[str, Any]:
    """Return the figures of one run.

    Args:
        sends: messages sent, all accepted.
        threads: connections at the same time.
        journal: whether the sandbox keeps a journal.
        form: whether a batch comes as a form (as clients of Meta's do) or as JSON.
    """
    with TemporaryDirectory() as folder, start(Path(folder) / "journal" if journal else None) as handle:
        clients = _prepare(handle, sends, threads, form=form)
        process = psutil.Process(handle.process.pid)
        cores = sorted(os.sched_getaffinity(0))
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {cores[-1]})
        before, began = process.cpu_times(), time.perf_counter()
        workers = [threading.Thread(target=client.run) for client in clients]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        wall, after = time.perf_counter() - began, process.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        accepted = sum(client.accepted for client in clients)
        seen = handle.control.summary()["messages"]
    return {
        "accepted": accepted,
        "in_ledger": seen,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "sends_per_wall_s": round(accepted / wall),
        "sends_per_cpu_s": round(accepted / cpu),
    }


def _prepare(handle: Handle, sends: int, threads: int, *, form: bool) -> list[Client]:
    control = handle.control
    page = control.page()
    control.people(page["page_id"], sends, profiles="empty")
    rows = control.optins(page["page_id"], "measure", webhook=False, list_tokens=True)["rows"]
    items = [_item(row["token"]) for row in rows]
    bodies = [_body(items[at : at + BATCH], form=form) for at in range(0, len(items), BATCH)]
    headers = {
        "Authorization": f"Bearer {page['access_token']}",
        "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
    }
    address = urlsplit(handle.url).netloc
    return [Client(address, headers, bodies[number::threads]) for number in range(threads)]


def _item(token: str) -> dict[str, str]:
    message = {"text": "Hi Ada, the thing you asked about is here: https://shop.test/thing", "metadata": token[:22]}
    recipient = {"one_time_notif_token": token}
    body = urlencode({"recipient": json.dumps(recipient), "message": json.dumps(message)})
    return {"method": "POST", "relative_url": "me/messages", "body": body}


def _body(items: list[dict[str, str]], *, form: bool) -> bytes:
    if form:
        return urlencode({"batch": json.dumps(items), "include_headers": "false"}).encode()
    return json.dumps({"batch": items, "include_headers": False}).encode()


def main() -> None:
    """Measure and tell; exit code 1 if it is too slow."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.measure", description=__doc__)
    parser.add_argument("--sends", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--no-journal", action="store_true")
    parser.add_argument("--json-body", action="store_true", help="batches as JSON instead of a form")
    given = parser.parse_args()
    figures = measure(given.sends, given.threads, journal=not given.no_journal, form=not given.json_body)
    print(json.dumps(figures, indent=2))  # noqa: T201 - its output
    if figures["sends_per_cpu_s"] < ENOUGH:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
