"""What keeps a responder from one thing does not keep it from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from otn.database import schema
from otn.database.schema import SchemaBehindError, migrations
from otn.intake.balance import BalanceError
from otn.responder import loop, pages
from otn.responder.loop import Responder
from tests.asking.desk import Desk
from tests.clean import database, emptied_url
from tests.consent.inbox import policy
from tests.responder.conftest import connection
from tests.responder.hand import finish, store

__all__ = ["database", "emptied_url"]

MakeResponder = Callable[..., Responder]


def test_an_ingest_that_is_broken_does_not_keep_answers_back(
    desk: Desk, make_responder: MakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise BalanceError

    monkeypatch.setattr(loop, "ingest_pending", broken)
    responder, psid = make_responder(), desk.people()[0]
    desk.answer(psid)
    finish(responder, desk)
    assert desk.seen() == {psid: 1}


def test_a_warning_of_the_platform_pauses_campaigns_at_once(desk: Desk, make_responder: MakeResponder) -> None:
    desk.sql(
        "INSERT INTO otn.campaign"
        " (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, chunks)"
        " VALUES (%s, %s, 'spring', '{}', sha256('x'), false, 'sending', now(), 1)",
        desk.page_row,
        desk.topic_row,
    )
    store(desk, policy("warning", "spam", at=datetime.now(UTC), page=desk.settings.page_id))
    make_responder().step()
    assert desk.sql("SELECT state::text FROM otn.campaign") == [("paused",)]


def test_a_page_that_was_registered_with_another_connection_speaks_by_that_one(
    desk: Desk, make_responder: MakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "REFRESH_S", 0.0)
    responder = make_responder(AIRFLOW_CONN_SECOND=connection(desk)["AIRFLOW_CONN_MESSENGER_DEFAULT"])
    psid = desk.people()[0]
    desk.answer(psid)
    finish(responder, desk)
    desk.sql("UPDATE otn.page SET connection_id = 'second'")
    desk.answer(psid, {"text": "Hi"})
    finish(responder, desk)
    assert desk.seen() == {psid: 2}
    assert [voice.settings.connection_id for voice in responder._voices.all()] == ["second"]


def test_nothing_is_taken_in_or_answered_on_tables_of_another_version(
    desk: Desk, make_responder: MakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.answer(desk.people()[0])
    responder = make_responder()
    newest = migrations()[-1]
    newer = replace(newest, version="9999")
    monkeypatch.setattr(schema, "migrations", lambda: (newest, newer))
    for _ in range(2):  # at the second look as at the first
        with pytest.raises(SchemaBehindError):
            responder.step()
    assert desk.seen() == {}
    monkeypatch.undo()
    finish(responder, desk)
    assert sum(desk.seen().values()) == 1
