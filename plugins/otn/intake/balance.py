"""The balance of events: nothing that was received disappears."""

from __future__ import annotations

from dataclasses import dataclass, replace

from otn.errors import OtnError


@dataclass(frozen=True)
class Balance:
    """What became of the events of some webhooks.

    Args:
        webhooks: bodies looked at.
        received: events found in them.
        ingested: of these, stored for the first time.
        duplicate: known already.
        quarantined: could not be used, and kept with the reason.
        optins_new: tokens stored for the first time.
    """

    webhooks: int = 0
    received: int = 0
    ingested: int = 0
    duplicate: int = 0
    quarantined: int = 0
    optins_new: int = 0

    @property
    def holds(self) -> bool:
        """Whether everything received is accounted for."""
        return self.received == self.ingested + self.duplicate + self.quarantined

    def __add__(self, other: Balance) -> Balance:
        return replace(self, **{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __str__(self) -> str:
        return (
            f"{self.webhooks} webhooks: {self.received} events received = {self.ingested} ingested"
            f" + {self.duplicate} duplicate + {self.quarantined} quarantined; {self.optins_new} new opt-ins"
        )


class BalanceError(OtnError):
    """Events are missing from the balance. Keep the raw webhooks of the day and look at the log of its ingests."""


class IncompleteError(OtnError):
    """Some webhooks stay pending. Correct the cause; the next ingest takes them up.

    Args:
        message: what is wrong, and what to do.
        balance: what was ingested all the same.
    """

    def __init__(self, message: str | None = None, balance: Balance | None = None) -> None:
        super().__init__(message)
        self.balance = balance or Balance()
