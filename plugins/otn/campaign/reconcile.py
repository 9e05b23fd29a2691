"""Asking again where nobody knows, and reading evidence once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otn.campaign import evidence
from otn.campaign.ledger import Doubtful
from otn.campaign.send import SendLimits, run_sender
from otn.crypto import Keyring
from otn.database import Engine, queries, transaction
from otn.messenger.client import MessengerClient
from otn.pace import Quota
from otn.settings import PageSettings


@dataclass(frozen=True)
class ReconcileResult:
    """What asking again led to.

    Args:
        sent: rows that are known to be sent now.
        still_unknown: rows that nobody knows about yet.
        done: nobody is left whom this run could ask; False: time is up, or the campaign was stopped.
        quota: of the page, where that is why somebody is left.
    """

    sent: int
    still_unknown: int
    done: bool
    quota: Quota | None = None


def reconcile(
    engine: Engine,
    client: MessengerClient,
    keyring: Keyring,
    settings: PageSettings,
    campaign_id: int,
    *,
    limits: SendLimits | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ReconcileResult:
    """Settle what can be settled; it touches only unknown rows and rows whose lease has ended.

    Arguments and errors are those of ``otn.campaign.send.send_chunk``.
    """
    evidence.settle_campaign(engine, campaign_id)
    result = run_sender(
        engine, client, keyring, settings, campaign_id, Doubtful(campaign_id), limits=limits, on_progress=on_progress
    )
    evidence.settle_campaign(engine, campaign_id)
    with transaction(engine) as connection:
        left = queries("campaign").remaining(connection, campaign_id=campaign_id)
    return ReconcileResult(sent=result.sent, still_unknown=left.unknown, done=result.done, quota=result.quota)
