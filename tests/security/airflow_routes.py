"""Serves Airflow's own application with our plugin and settings, tries each of its routes as three people, prints JSON.

A process of its own: Airflow reads its environment once. The application is the one that ``airflow api-server`` serves;
only from inside it tells the routes that its description leaves out.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import requests
import uvicorn

BULK = {"actions": [{"action": "delete", "entities": ["x"]}]}
# Without a body that makes sense, Airflow says so before it looks at the permission.
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/api/v2/connections"): BULK,
    ("PATCH", "/api/v2/pools"): BULK,
    ("PATCH", "/api/v2/variables"): BULK,
    ("PATCH", "/api/v2/dags/{dag_id}/dagRuns"): {
        "actions": [{"action": "delete", "entities": [{"dag_id": "x", "dag_run_id": "x"}]}]
    },
    ("POST", "/api/v2/connections/enqueue-test"): {"connection_id": "x", "conn_type": "http"},
    ("POST", "/api/v2/dags/{dag_id}/clearDagRuns"): {"dag_runs": [{"dag_run_id": "x"}]},
}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
ELSEWHERE = "http://127.0.0.1:9"
# What a route's address needs. Nothing of the kind is there: whoever gets as far as a 404 was let in.
SAMPLES = {"map_index": "0", "task_map_index": "0", "backfill_id": "1", "asset_id": "1", "try_number": "1"}


def main() -> None:
    """Standard input: ``{"port": 0, "passwords": {user: password}}``."""
    asked = json.load(sys.stdin)
    from airflow.utils.db import initdb

    initdb()
    from airflow.api_fastapi.app import create_app

    app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=asked["port"], log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        requests.get(f"http://127.0.0.1:{port}/execution/health", timeout=30)  # it makes its routes when first asked
        found = _walk(f"http://127.0.0.1:{port}", list(_routes(app.routes)), asked["passwords"])
    finally:
        server.should_exit = True
        thread.join(30)
    print(json.dumps(found))


def _routes(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Method, path, kind of everything that is served, mounted applications included."""
    for route in routes:
        path, inner = prefix + route.path, getattr(getattr(route, "app", None), "routes", None)
        versions = getattr(getattr(route, "app", None), "router", None)
        versioned = getattr(versions, "versioned_routers", None)
        if versioned:  # the Execution API: one set of routes for each of its dates, of which the last is tried
            yield from _routes(versioned[max(versioned)].routes, path)
        if inner is not None and not hasattr(route, "methods"):
            yield from _routes(inner, path)
            continue
        for method in METHODS & set(getattr(route, "methods", None) or {"GET"}):
            yield method, path, type(getattr(route, "app", route)).__name__ if not hasattr(route, "methods") else ""


def _walk(url: str, routes: list[tuple[str, str, str]], passwords: dict[str, str]) -> dict[str, Any]:
    cookies = {name: _log_in(url, name, password) for name, password in passwords.items()}
    rows = []
    for method, path, kind in sorted(set(routes)):
        address = url + re.sub(r"\{([a-z_]+)(:path)?\}", lambda match: SAMPLES.get(match[1], "x"), path)
        row: dict[str, Any] = {"method": method, "path": path, "kind": kind}
        body = None if method == "GET" else BODIES.get((method, path), {})
        row["nobody"] = _try(method, address, body)
        row["forger"] = _try(method, address, body, "Bearer " + _worthless())
        if method != "GET":
            row["viewer"] = _try(method, address, body, "Bearer " + cookies["viewer"])
        rows.append(row)
    return {"routes": rows, **_from_elsewhere(url, cookies["admin"])}


def _try(method: str, address: str, body: Any, authorization: str = "") -> int:
    headers = {"Authorization": authorization} if authorization else None
    with requests.request(
        method, address, json=body, headers=headers, timeout=30, allow_redirects=False, stream=True
    ) as answer:
        return answer.status_code


def _worthless() -> str:
    """A token that says the right things, signed by somebody else."""
    import jwt

    claims = {"sub": "admin", "role": "ADMIN", "aud": "apache-airflow", "exp": 2**31, "iat": 1, "nbf": 1}
    return jwt.encode(claims, "0" * 64, algorithm="HS512")


def _log_in(url: str, name: str, password: str) -> str:
    answer = requests.post(f"{url}/auth/token", json={"username": name, "password": password}, timeout=30)
    return str(answer.json()["access_token"])


def _from_elsewhere(url: str, token: str) -> dict[str, Any]:
    """What a page of another origin can make the browser of somebody do who is logged in."""
    cookie, runs = {"_token": token}, f"{url}/api/v2/dags/x/dagRuns"
    forms = {}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Origin": ELSEWHERE, "Content-Type": kind}
        answer = requests.post(runs, data='{"logical_date": null}', headers=headers, cookies=cookie, timeout=30)
        forms[kind] = answer.status_code
    asking = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
    asked = requests.options(runs, headers=asking | {"Access-Control-Request-Headers": "content-type"}, timeout=30)
    known = requests.post(runs, json={"logical_date": None}, cookies=cookie, timeout=30)
    return {
        "forms": forms,
        "preflight": asked.headers.get("access-control-allow-origin"),
        "same_origin": known.status_code,
    }


if __name__ == "__main__":
    main()
