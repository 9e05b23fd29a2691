"""How a start or a stop tells what it does."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Whoever wants to know how a start or a stop goes on."""

    def stage(self, name: str) -> None:
        """Another stage begins; ``name`` says it in a few words."""

    def note(self, text: str) -> None:
        """A sentence that the operator should read."""


class Silence:
    """A progress that nobody watches."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
