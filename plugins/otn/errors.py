"""The root of every error that this package raises on purpose."""

from __future__ import annotations


class OtnError(Exception):
    """Something went wrong. Look at the message above it."""

    def __init__(self, message: str | None = None) -> None:
        doc = (type(self).__doc__ or OtnError.__doc__ or "").strip()
        super().__init__(message or doc)


class ConfigurationError(OtnError):
    """A setting is missing or wrong. Correct it and start again."""


class UsageError(OtnError):
    """The command or the parameters cannot be used as given. Correct them and try again."""
