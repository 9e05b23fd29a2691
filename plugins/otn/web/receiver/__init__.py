"""The webhook receiver: checks the signature, stores the raw body, answers. Nothing is read here."""

from __future__ import annotations

from otn.web.receiver.app import create_app
from otn.web.receiver.pages import NoSecretError, PageSecrets, Registry
from otn.web.receiver.server import serve

__all__ = ["NoSecretError", "PageSecrets", "Registry", "create_app", "serve"]
