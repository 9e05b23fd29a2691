"""Results taken to others: each in order, none lost, the same id when it comes twice."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from otn.crypto import Keyring
from otn.database import Engine
from otn.outgoing import delivering, endpoints, packing, post
from tests.named_queries import sql_of
from tests.outgoing.conftest import House, System, make_house


def test_a_system_gets_what_became_of_whom_and_no_word_more(house: House, system: System) -> None:
    house.add(system)
    sent, refused, doubt = house.people[:3]
    house.settle("sent", [sent])
    house.settle("refused", [refused])
    house.settle("unknown", [doubt])
    house.move("halted")
    done = house.deliver()
    assert done is not None
    assert (done.events, done.error) == (2, None)
    results, halted = system.events
    assert results["type"] == "recipients"
    assert (results["page"], results["campaign"]) == ("shop", {"id": house.campaign, "key": "spring"})
    assert [{k: v for k, v in row.items() if k != "at"} for row in results["results"]] == [
        {"subscriber": sent, "state": "sent", "evidence": "answer"},
        {"subscriber": refused, "state": "refused", "code": 551},
        {"subscriber": doubt, "state": "unknown", "reason": "no_answer"},
    ]
    assert (halted["type"], halted["state"]) == ("campaign.halted", "halted")
    raw = b"".join(request.body for request in system.got)
    assert not any(word in raw for word in (b"psid-", b"m_secret", b"Ada", b"sealed"))
    assert house.deliver() == delivering.Delivered("shop crm")  # nothing twice
    assert len(system.got) == 2


def test_a_doubt_that_is_settled_later_is_told_after_it(house: House, system: System) -> None:
    house.add(system)
    one = house.people[0]
    house.settle("unknown", [one])
    house.move("finished")
    house.settle("sent", [one])
    house.deliver()
    assert [event["type"] for event in system.events] == ["recipients", "campaign.finished", "recipients"]
    assert system.results == [(one, "unknown"), (one, "sent")]


def test_the_signature_is_one_that_anybody_can_check(house: House, system: System) -> None:
    secret = house.add(system).secret
    house.settle()
    house.deliver()
    (request,) = system.got
    parts = dict(part.split("=") for part in request.headers["OTN-Signature"].split(","))
    signed = parts["t"].encode() + b"." + request.body
    assert parts["v1"] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert abs(int(parts["t"]) - time.time()) < 60
    assert request.headers["OTN-Event"] == request.event["id"]


def test_while_a_secret_is_changed_both_sign(house: House, system: System) -> None:
    old = house.add(system).secret
    new = endpoints.rotate(house.engine, house.keyring, house.page, "crm", actor="me").secret
    house.settle("sent", house.people[:1])
    house.deliver()
    house.sql("UPDATE otn.endpoint SET secret_until = now()")
    house.settle("refused", house.people[1:2])
    house.deliver()
    for request, fitting in zip(system.got, ([new, old], [new]), strict=True):
        at, *macs = [part.partition("=")[2] for part in request.headers["OTN-Signature"].split(",")]
        signed = at.encode() + b"." + request.body
        assert macs == [hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in fitting]


def test_after_a_crash_between_request_and_note_the_same_event_comes_again(
    house: House, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add(system)
    house.settle()
    real = delivering.post

    def dies(*arguments: object, **options: object) -> object:
        real(*arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(delivering, "post", dies)
    with pytest.raises(KeyboardInterrupt):
        house.deliver()
    monkeypatch.undo()
    assert house.deliver() is None  # its lease is still held
    house.sql("UPDATE otn.endpoint SET lease_until = now()")
    house.settle("skipped", [])
    house.deliver()
    first, second = system.got
    assert first.body == second.body
    assert first.headers["OTN-Event"] == second.headers["OTN-Event"]
    assert sorted(system.results[:5]) == [(one, "sent") for one in house.people]


class DiedError(Exception):
    """The process ends before the commit."""


def test_a_crash_while_packing_loses_nobody(house: House, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(system)
    house.settle()
    real = packing.queries("outgoing")

    def pack(*arguments: object, **options: object) -> None:
        real.pack(*arguments, **options)
        raise DiedError

    monkeypatch.setattr(packing, "queries", lambda _: SimpleNamespace(lock_packing=real.lock_packing, pack=pack))
    with pytest.raises(DiedError):
        packing.pack(house.engine)
    monkeypatch.undo()
    assert house.sql("SELECT count(*) FROM otn.outgoing_event")[0][0] == 0
    house.deliver()
    assert len(system.results) == len(house.people)


ANSWERS = {
    "status 500": {"status": 500},
    "status 404": {"status": 404},
    "redirected 302": {"status": 302, "headers": {"Location": "http://localhost:1/elsewhere"}},
    "connection_cut": {"cut": True},
}


@pytest.mark.parametrize("error", ANSWERS)
def test_what_an_endpoint_did_not_take_waits_and_comes_again(
    house: House, systems: Callable[..., System], error: str
) -> None:
    system = systems(**ANSWERS[error])
    house.add(system)
    house.settle()
    done = house.deliver()
    assert done is not None
    assert (done.events, done.error, done.disabled) == (0, error, False)
    assert house.deliver() is None  # not yet
    after = house.endpoint()
    assert (after.tries, after.error, after.lease) == (1, error, None)
    assert after.due_at > datetime.now(UTC) + timedelta(seconds=15)
    house.due()
    house.deliver()
    assert house.endpoint().due_at - house.endpoint().failed_since > timedelta(seconds=40)  # longer than before
    system.status, system.cut, system.headers = 200, False, {}
    house.due()
    house.deliver()
    assert len({request.body for request in system.got}) == 1
    assert len(system.got) == 3
    assert house.endpoint().tries == 0


def test_one_that_wants_to_be_left_alone_is(house: House, systems: Callable[..., System]) -> None:
    system = systems(status=429, headers={"Retry-After": "3600"})
    house.add(system)
    house.settle()
    house.deliver()
    assert house.endpoint().due_at > datetime.now(UTC) + timedelta(minutes=59)


@pytest.mark.parametrize("gone", [True, False])
def test_one_that_is_gone_or_dead_for_days_is_given_up_on_until_a_person_says_otherwise(
    house: House, systems: Callable[..., System], gone: bool
) -> None:
    system = systems(status=410 if gone else 503)
    house.add(system)
    house.settle()
    if not gone:
        house.deliver()
        assert house.endpoint().disabled_at is None
        house.sql("UPDATE otn.endpoint SET failed_since = now() - interval '6 days', due_at = now()")
    done = house.deliver()
    assert done is not None
    assert done.disabled
    house.due()
    assert house.deliver() is None
    system.status = 200
    endpoints.enable(house.engine, house.page, "crm", actor="me")
    house.deliver()
    assert len(set(system.results)) == len(house.people)


def test_an_endpoint_that_hangs_holds_itself_up_and_nobody_else(
    house: House, systems: Callable[..., System], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "READ_S", 0.3)
    deaf, well = systems(hang=threading.Event()), systems()
    house.add(deaf, "deaf")
    house.add(well, "well")
    house.settle()
    packing.pack(house.engine)
    with ThreadPoolExecutor(2) as threads:
        dead, good = threads.map(house.deliver, ("deaf", "well"))
    assert dead is not None
    assert good is not None
    assert (dead.error, good.events) == ("read_timeout", 1)


def test_two_runs_at_once_send_each_event_once(house: House, system: System) -> None:
    house.add(system)
    for person in house.people:
        house.settle("sent", [person])
        packing.pack(house.engine)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: house.deliver(), range(4)))
    house.deliver()
    assert [person for person, _ in system.results] == house.people


def test_what_is_packed_by_two_at_once_is_packed_once(house: House, system: System) -> None:
    house.add(system)
    house.settle()
    with ThreadPoolExecutor(4) as threads:
        packed = list(threads.map(lambda _: packing.pack(house.engine), range(8)))
    assert sum(one.outcomes for one in packed) == len(house.people)


def test_a_hundred_thousand_results_are_a_hundred_requests(database: Engine, keyring: Keyring, system: System) -> None:
    house = make_house(database, keyring, 100_000)
    house.add(system)
    house.settle()
    house.move("finished")
    done = house.deliver()
    assert done is not None
    assert done.events == 101
    assert [person for person, _ in system.results] == house.people
    assert max(len(request.body) for request in system.got) < 200_000
    assert system.events[-1]["type"] == "campaign.finished"
    assert house.sql("SELECT count(*) FROM otn.outcome")[0][0] == 0


def test_what_postgres_believes_empty_is_not_compared_row_by_row(house: House, system: System) -> None:
    """Autovacuum looked at the table when it was empty but not yet shorter; then a campaign was sent."""
    house.add(system)
    house.settle()
    believed = "'schemaname', 'otn', 'relname', 'outcome', 'relpages', 1, 'reltuples', 0::real"
    house.sql(f"SELECT pg_restore_relation_stats({believed})")
    most = {"most": packing.ROWS_PER_PACK, "rows_per_event": packing.ROWS_PER_EVENT}
    plan = house.sql(f"EXPLAIN {sql_of('outgoing', 'pack')}", most)
    assert "outcome" in str(plan)
    assert "Nested Loop" not in str(plan)


def test_nothing_is_written_down_where_nobody_wants_it(house: House, system: System) -> None:
    house.settle("sent", house.people[:1])
    house.add(system, kinds=["campaign.finished"])
    house.settle("refused", house.people[1:2])
    house.move("halted")
    assert packing.pack(house.engine) == packing.Packed(0, 0)


def test_a_replay_sends_again_what_was_sent_with_its_ids(house: House, system: System) -> None:
    house.add(system)
    for person in house.people[:3]:
        house.settle("sent", [person])
        house.deliver()
    (since,) = house.sql("SELECT created_at FROM otn.outgoing_event ORDER BY id OFFSET 1 LIMIT 1")[0]
    assert endpoints.replay(house.engine, house.page, "crm", since, actor="me") == 2
    house.deliver()
    assert [one.body for one in system.got[3:]] == [one.body for one in system.got[1:3]]
    assert endpoints.replay(house.engine, house.page, "crm", datetime.now(UTC), actor="me") == 0


def test_a_replay_that_is_asked_for_during_a_delivery_stands(house: House, system: System) -> None:
    house.add(system)
    house.settle("sent", house.people[:1])
    house.deliver()
    house.settle("sent", house.people[1:2])
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)

    def replay(_: object) -> None:
        if len(system.got) == 1:
            endpoints.replay(house.engine, house.page, "crm", long_ago, actor="me")

    system.before = replay
    house.deliver()
    first, second = house.people[:2]
    assert [person for person, _ in system.results] == [first, second, first, second]


def test_what_is_forgotten_before_it_was_taken_is_counted(house: House, systems: Callable[..., System]) -> None:
    system = systems(status=500)
    house.add(system)
    house.settle()
    house.deliver()
    house.sql(
        "SET LOCAL session_replication_role = replica;"
        " UPDATE otn.outgoing_event SET created_at = now() - interval '31 days'"
    )
    assert packing.forget(house.engine) == 1
    assert house.endpoint().missed == 1
    assert packing.forget(house.engine) == 0


def test_a_secret_that_cannot_be_read_is_a_failure_like_another(house: House, system: System, keyring: Keyring) -> None:
    house.add(system)
    house.settle()
    house.sql("UPDATE otn.endpoint SET secret = 'garbage'")
    done = house.deliver()
    assert done is not None
    assert done.error == "secret_unreadable"
    assert system.got == []
