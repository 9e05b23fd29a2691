"""The responder: takes in webhooks at once and carries out what the rules say about them."""

from __future__ import annotations

from otn.responder.process import serve

__all__ = ["serve"]
