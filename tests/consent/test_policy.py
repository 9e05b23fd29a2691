"""What the platform says of a page: blocked, unblocked, warned. Each word counts once, by its own time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from otn.campaign import control
from otn.campaign.policy import heed_warnings
from otn.consent import pages
from otn.database import transaction
from otn.errors import UsageError
from tests.consent.inbox import NOW, Inbox, body, policy

UNBLOCKED = "policy_enforcement: unblocked, waits for a person"
ACTOR = "cli:ada"


def page(inbox: Inbox) -> pages.Page:
    with transaction(inbox.database) as conn:
        return pages.find(conn, "1001")


def take(inbox: Inbox, *items: dict[str, Any]) -> pages.Page:
    for one in items:
        inbox.put(body(one))
        inbox.ingest()
    return page(inbox)


def resume(inbox: Inbox, because: str | None = None) -> list[str]:
    with transaction(inbox.database) as conn:
        return pages.resume(conn, pages.find(conn, "1001"), actor=ACTOR, because=because)


def halt(inbox: Inbox, reason: str = "a complaint") -> None:
    with transaction(inbox.database) as conn:
        pages.halt(conn, pages.find(conn, "1001"), reason=reason, actor=ACTOR)


def actions(inbox: Inbox) -> list[tuple[str, str]]:
    return [(row.actor, row.action) for row in inbox.rows("SELECT actor, action FROM otn.audit ORDER BY id")]


def test_a_blocked_page_is_free_when_the_platform_unblocked_it_and_a_person_agreed(inbox: Inbox) -> None:
    blocked = take(inbox, policy("block", "spam"))
    assert (blocked.halt_reason, blocked.halt_held) == ("policy_enforcement: block: spam", True)
    with pytest.raises(pages.PageBlockedError, match="--because"):
        resume(inbox)
    unblocked = take(inbox, policy("unblock", at=NOW + timedelta(hours=1)))
    assert (unblocked.halt_reason, unblocked.halt_held, unblocked.blocked_at) == (UNBLOCKED, True, None)
    assert resume(inbox) == []
    assert not page(inbox).halted
    assert actions(inbox) == [("platform", "page halted"), ("platform", "page unblocked"), (ACTOR, "page resumed")]


def test_a_person_may_know_better_than_a_platform_that_forgot_to_say_so(inbox: Inbox) -> None:
    take(inbox, policy("block"))
    resume(inbox, because="the Support Inbox says that it is free")
    assert not page(inbox).halted
    detail = inbox.value("SELECT detail FROM otn.audit ORDER BY id DESC LIMIT 1")
    assert detail == {"before": "policy_enforcement: block", "because": "the Support Inbox says that it is free"}


def test_a_block_that_was_heeded_does_not_come_back_but_a_new_one_does(inbox: Inbox) -> None:
    raw = body(policy("block"))
    inbox.put(raw)
    inbox.ingest()
    resume(inbox, because="free")
    inbox.put(raw)
    inbox.ingest()
    assert not page(inbox).halted
    # Another word makes the platform's words be looked at again: the old block is not the latest news.
    assert not take(inbox, policy("warning", at=NOW + timedelta(minutes=1))).halted
    assert not take(inbox, policy("block", "older", at=NOW - timedelta(days=1))).halted
    assert take(inbox, policy("block", "again", at=NOW + timedelta(hours=1))).halted


@pytest.mark.parametrize("together", [True, False])
def test_words_count_by_their_own_time(inbox: Inbox, together: bool) -> None:
    events = [body(policy("unblock", at=NOW)), body(policy("block", at=NOW - timedelta(hours=1)))]
    for raw in events:
        inbox.put(raw)
        if not together:
            inbox.ingest()
    inbox.ingest()
    assert not page(inbox).halted


def test_of_two_words_of_one_moment_the_block_counts(inbox: Inbox) -> None:
    assert take(inbox, policy("unblock"), policy("block")).halted


def test_an_unblock_neither_lifts_nor_renames_a_halt_of_ours(inbox: Inbox) -> None:
    inbox.rows("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    found = take(inbox, policy("unblock"))
    assert (found.halt_reason, found.halt_held) == ("190: token", False)


def test_a_block_holds_a_page_that_had_stopped_for_less(inbox: Inbox) -> None:
    """Or the campaign that is triggered again would set a blocked page free."""
    inbox.rows("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    found = take(inbox, policy("block", "spam"))
    assert (found.halt_reason, found.halt_held) == ("policy_enforcement: block: spam", True)
    assert inbox.value("SELECT detail ->> 'before' FROM otn.audit") == "190: token"


def test_what_a_person_wrote_stays_through_block_and_unblock(inbox: Inbox) -> None:
    halt(inbox)
    assert take(inbox, policy("block")).halt_reason == "a complaint"
    with pytest.raises(pages.PageBlockedError):
        resume(inbox)
    assert take(inbox, policy("unblock", at=NOW + timedelta(hours=1))).halt_reason == "a complaint"
    resume(inbox)
    assert not page(inbox).halted


def test_a_halt_needs_a_reason_and_a_page_that_runs_has_nothing_to_resume(inbox: Inbox) -> None:
    with pytest.raises(UsageError, match="--reason"):
        halt(inbox, "  ")
    assert resume(inbox) == []
    assert actions(inbox) == []


# ── campaigns


@pytest.fixture
def campaign(inbox: Inbox) -> int:
    """A campaign that is sending."""
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, payload) SELECT id, 'sale', 'sale' FROM otn.page WHERE page_id = '1001'"
    )
    return int(
        inbox.value(
            "INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state,"
            " planned_at, chunks) SELECT page_id, id, 'spring', '{}', sha256('x'), false, 'sending', now(), 1"
            " FROM otn.topic RETURNING id"
        )
    )


def state(inbox: Inbox) -> str:
    return str(inbox.value("SELECT state::text FROM otn.campaign"))


@pytest.mark.parametrize("held_by", ["platform", "person"])
@pytest.mark.parametrize("before", ["halted", "sending"])
def test_a_campaign_that_is_resumed_does_not_free_a_held_page(
    inbox: Inbox, campaign: int, held_by: str, before: str
) -> None:
    if before == "halted":
        inbox.rows("UPDATE otn.campaign SET state = 'halted', halt_reason = 'the page'")
    if held_by == "platform":
        take(inbox, policy("block"), policy("unblock", at=NOW + timedelta(hours=1)))
    else:
        halt(inbox)
    if before == "halted":
        with pytest.raises(pages.PageHeldError, match=r"\./otn pages resume messenger_default"):
            control.resume(inbox.database, campaign, actor=ACTOR)
        with transaction(inbox.database) as conn:
            assert pages.resume(conn, page(inbox), actor=ACTOR) == ["spring"]
        control.resume(inbox.database, campaign, actor=ACTOR)
        assert (state(inbox), page(inbox).halted) == ("sending", False)
    else:
        control.resume(inbox.database, campaign, actor=ACTOR)  # nothing to resume, nothing freed
        assert page(inbox).halted


def test_a_campaign_that_is_resumed_frees_a_page_that_nobody_holds(inbox: Inbox, campaign: int) -> None:
    inbox.rows("UPDATE otn.campaign SET state = 'halted', halt_reason = '190'")
    inbox.rows("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    control.resume(inbox.database, campaign, actor=ACTOR)
    assert not page(inbox).halted


def test_a_warning_pauses_what_sends_once_and_a_person_may_go_on(inbox: Inbox, campaign: int) -> None:
    take(inbox, policy("warning", "careful"))
    assert heed_warnings(inbox.database) == ["spring"]
    assert state(inbox) == "paused"
    assert inbox.rows("SELECT actor, action, detail FROM otn.audit")[0] == (
        *("platform", "paused", {"reason": "policy_enforcement: warning: careful"}),
    )
    control.resume(inbox.database, campaign, actor=ACTOR)
    take(inbox, policy("warning", "an older one", at=NOW - timedelta(hours=1)))
    assert heed_warnings(inbox.database) == []
    assert state(inbox) == "sending"
    take(inbox, policy("warning", "a second one", at=NOW + timedelta(hours=1)))
    assert heed_warnings(inbox.database) == ["spring"]


def test_a_warning_pauses_only_its_own_page(inbox: Inbox, campaign: int) -> None:
    with transaction(inbox.database) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('2002', 'other')")
    inbox.put(body(policy("warning", page="2002"), page="2002"))
    inbox.ingest()
    assert heed_warnings(inbox.database) == []
    assert state(inbox) == "sending"


def test_words_that_are_none_halt_nothing(inbox: Inbox) -> None:
    odd = [policy("blocked"), policy("BLOCK?"), policy("unblocking"), policy("x" * 90, "block: y")]
    found = take(inbox, *odd)
    assert not found.halted
    assert json.dumps(actions(inbox)) == "[]"
