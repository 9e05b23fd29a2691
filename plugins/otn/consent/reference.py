"""References: what an opt-in is about beyond its topic, carried inside the payload of the request card."""

from __future__ import annotations

import json

REF_LIMIT = 200  # characters


def pack(payload: str, ref: str | None) -> str:
    """Write the payload of a card.

    Args:
        payload: the topic's.
        ref: a product, a show; None: the topic alone, and its payload goes as it stands.
    """
    if ref is None:
        return payload
    return json.dumps({"topic": payload, "ref": ref}, ensure_ascii=False, separators=(",", ":"))


def unpack(payload: str) -> tuple[str, str | None]:
    """Read the payload of an opt-in: the topic's payload, and the reference.

    What is not exactly an object of ``topic`` and ``ref`` (a text or a whole number) is a payload of its own: others
    put JSON there too, and none of it may be lost.
    """
    if not payload.startswith("{"):
        return payload, None
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return payload, None
    if not isinstance(found, dict) or not found.keys() <= {"topic", "ref"} or not isinstance(found.get("topic"), str):
        return payload, None
    ref = found.get("ref")
    if isinstance(ref, int) and not isinstance(ref, bool):
        ref = str(ref)
    if ref is not None and (not isinstance(ref, str) or not ref or len(ref) > REF_LIMIT):
        return payload, None
    return found["topic"], ref
