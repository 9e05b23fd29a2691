"""The batch endpoint (Meta docs, Batch requests)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.refusal import Answer, GraphRefusal, bad_parameter
from sandbox.request import Request
from sandbox.wire import graph_json, graph_string, read_lenient

MOST_ITEMS = 50
REFUSED_KEYS = ("name", "depends_on", "attached_files")

Item = Callable[[str, str, str, str, str | None], Answer]


def answer_batch(request: Request, item: Item, check: Callable[[Request], Any]) -> Answer:
    """Answer a batch: items in request order, ``null`` where an item has no answer.

    Args:
        request: the call that carries the batch.
        item: answers one item: method, relative URL, body, access token and proof of the batch.
        check: refuses the whole batch if its own access token is no good.

    Raises:
        GraphRefusal: Nothing of the batch was executed.
    """
    items = _items(request.params["batch"])
    check(request)
    access_token = request.access_token() or ""
    proof = request.params.get("appsecret_proof")
    with_headers = str(request.params.get("include_headers", "true")).lower() not in {"false", "0"}
    parts: list[str] = []
    delay_ms = 0
    usage: tuple[tuple[str, str], ...] = ()
    for entry in items:
        answer = _answer(entry, item, access_token, proof)
        if answer.lost_batch:
            return answer
        delay_ms = max(delay_ms, answer.delay_ms)
        usage = tuple(header for header in answer.headers if header[0].startswith("X-")) or usage
        parts.append("null" if answer.lost else _encode(answer, with_headers=with_headers))
    return Answer(200, f"[{','.join(parts)}]", usage, delay_ms=delay_ms)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = read_lenient(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise bad_parameter("Invalid value for parameter batch")
    if len(value) > MOST_ITEMS:
        text = f"Too many requests in batch message. Maximum batch size is {MOST_ITEMS}"
        raise GraphRefusal(100, text, kind="GraphBatchException")
    if not value:
        raise GraphRefusal(100, "Empty batch request", kind="GraphBatchException")
    return value


def _answer(entry: Any, item: Item, access_token: str, proof: str | None) -> Answer:
    if not isinstance(entry, dict) or not isinstance(entry.get("relative_url"), str):
        return bad_parameter("Batch items need method and relative_url").answer()
    for key in REFUSED_KEYS:
        if key in entry:
            return bad_parameter(f"The sandbox does not implement {key} in a batch; send without it").answer()
    body = entry.get("body", "")
    if not isinstance(body, str):
        return bad_parameter("The body of a batch item must be a urlencoded string").answer()
    return item(str(entry.get("method", "GET")).upper(), entry["relative_url"], body, access_token, proof)


def _encode(answer: Answer, *, with_headers: bool) -> str:
    if not with_headers:
        return f'{{"code":{answer.status},"body":{graph_string(answer.body)}}}'
    headers = [{"name": "Content-Type", "value": answer.content_type}]
    headers += [{"name": name, "value": value} for name, value in answer.headers]
    return f'{{"code":{answer.status},"headers":{graph_json(headers)},"body":{graph_string(answer.body)}}}'
