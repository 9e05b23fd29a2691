"""Ten thousand hostile bodies that are signed, and ten thousand that are not, through a receiver of its own."""

from __future__ import annotations

import http.client
import random
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otn.consent import pages
from otn.consent.reference import unpack
from otn.consent.text import storable
from otn.database import transaction
from otn.intake.ingest import ingest_pending
from otn.messenger.signature import sign
from tests.consent.inbox import page_settings
from tests.receiver.conftest import APP_SECRET, Receiver
from tests.receiver.forgeries import forgery
from tests.receiver.mutations import Mutator, Sample
from tests.receiver.shapes import PAGE

BODIES = 10_000
CONNECTIONS = 4
SEED = 20_261_122

Call = tuple[bytes, str | None]  # body, and signature if any


def post(port: int, calls: Sequence[Call]) -> Counter[int]:
    """Post over one connection that is kept; count the statuses."""
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body, signature in calls:
        headers = {} if signature is None else {"X-Hub-Signature-256": signature}
        connection.request("POST", "/webhook", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    return statuses


def post_all(receiver: Receiver, calls: Sequence[Call]) -> Counter[int]:
    with ThreadPoolExecutor(CONNECTIONS) as posters:
        parts = [calls[start::CONNECTIONS] for start in range(CONNECTIONS)]
        return sum(posters.map(lambda part: post(receiver.port, part), parts), Counter())


def rows(receiver: Receiver, statement: str) -> list[Any]:
    with transaction(receiver.database) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


@pytest.fixture
def fed(receiver_process: Receiver) -> Receiver:
    """A receiver whose page is registered."""
    with transaction(receiver_process.database) as connection:
        pages.register(connection, page_settings(PAGE))
    return receiver_process


def test_no_sound_event_is_lost_among_ten_thousand_hostile_bodies(fed: Receiver) -> None:
    samples = list(Mutator(SEED).samples(BODIES))
    assert post_all(fed, [(sample.body, sign(sample.body, APP_SECRET)) for sample in samples]) == {200: BODIES}
    fed.settle()

    balance = ingest_pending(fed.database, fed.keyring)

    assert rows(fed, "SELECT 1 FROM otn.webhook_event WHERE ingested_at IS NULL") == []
    assert (balance.holds, balance.webhooks) == (True, BODIES)
    assert_every_body_balances(fed, samples)
    assert_every_sound_event_is_stored(fed, samples)
    assert_every_broken_piece_is_in_quarantine(fed, samples)
    assert ingest_pending(fed.database, fed.keyring).webhooks == 0


def assert_every_body_balances(receiver: Receiver, samples: Sequence[Sample]) -> None:
    stored = rows(receiver, "SELECT body, events, quarantined FROM otn.webhook_event")
    bodies = [(receiver.keyring.decrypt(row.body, "webhook"), row.events) for row in stored]
    assert Counter(bodies) == Counter((sample.body, sample.pieces) for sample in samples)
    least = {sample.body: len(sample.broken) + sample.whole for sample in samples}
    for row, (body, _) in zip(stored, bodies, strict=True):
        assert row.quarantined >= least[body]


def assert_every_sound_event_is_stored(receiver: Receiver, samples: Sequence[Sample]) -> None:
    events = "SELECT e.kind::text, s.psid, e.payload, e.detail FROM otn.event e LEFT JOIN otn.subscriber s"
    found = rows(receiver, f"{events} ON s.id = e.subscriber_id")
    known = {(row.kind, text) for row in found for text in (row.psid or row.payload, row.detail)}
    sound = {identity for sample in samples for identity in sample.sound}
    assert len(sound) > BODIES / 2
    assert sound - known == set()

    joined = "otn.token k JOIN otn.topic t ON t.id = k.topic_id"
    tokens = rows(receiver, f"SELECT k.token_encrypted, t.payload, k.ref FROM {joined}")
    opened = [(receiver.keyring.decrypt(row.token_encrypted, "token").decode(), row) for row in tokens]
    kept = {token: (row.payload, row.ref) for token, row in opened}
    given = {token: taken_apart(payload) for sample in samples for token, payload in sample.tokens.items()}
    assert len(given) > BODIES / 8
    assert {token: kept.get(token) for token in given} == given


def taken_apart(payload: str) -> tuple[str, str | None]:
    """Topic and reference, as they are stored."""
    topic, ref = unpack(payload)
    return storable(topic), ref


def assert_every_broken_piece_is_in_quarantine(receiver: Receiver, samples: Sequence[Sample]) -> None:
    kept = rows(receiver, "SELECT reason, item FROM otn.quarantine")
    items = [receiver.keyring.decrypt(row.item, "quarantine") for row in kept]
    text = b"\n".join(items)
    broken = [marker for sample in samples for marker in sample.broken]
    assert len(broken) > BODIES / 4
    assert set(broken) - {found.decode() for found in re.findall(rb"marker-[0-9]+", text)} == set()
    whole = Counter(sample.body for sample in samples if sample.whole)
    assert whole - Counter(items) == Counter()
    assert len({row.reason for row in kept}) > 50  # as many ways to be broken were tried
    assert not [row.reason for row in kept if not row.reason.strip() or "\n" in row.reason or "marker" in row.reason]
    # Nothing sound was set aside together with what is broken.
    aside = {found.decode() for item in items if b"marker-" in item for found in re.findall(rb'"tok/[0-9]+', item)}
    assert aside & {f'"{token[:-1]}' for sample in samples for token in sample.tokens} == set()


def test_ten_thousand_forged_signatures_are_refused_and_leave_nothing(fed: Receiver) -> None:
    rng = random.Random(SEED)  # noqa: S311 - repeatable, not unpredictable
    sound = [sample.body for sample in Mutator(SEED + 1).samples(600) if not sample.whole and len(sample.body) < 20_000]
    calls = [(body, forgery(body, APP_SECRET, rng)) for body in rng.choices(sound, k=BODIES)]
    assert post_all(fed, calls) == {403: BODIES}
    assert rows(fed, "SELECT 1 FROM otn.webhook_event") == []
    assert fed.post(sound[0]).status_code == 200
    assert fed.stored_in_the_end(1) == [sound[0]]
