"""Last night's dump, restored and confirmed: nobody is sent to who has asked for silence since."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from otn.consent import objection, pages
from otn.consent.silence import Change, silence_journal, write_down
from otn.database import queries, transaction
from otn.epoch import confirming, guard
from otn.epoch.guard import SendingHaltedError
from otn.privacy.silences import Returned, apply_silences
from tests.consent.test_ways_back import dumped
from tests.epoch.test_restored import put_back


def word(stage: Any, psid: str, meaning: str) -> None:
    """A word of a person, as an ingest settles it."""
    with transaction(stage.engine) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, detail, occurred_at, webhook_day,"
            " webhook_id) SELECT sha256(gen_random_uuid()::text::bytea), page_id, id, 'message', %s, clock_timestamp(),"
            " now()::date, gen_random_uuid() FROM otn.subscriber WHERE psid = %s RETURNING id",
            (meaning, psid),
        )
        ids = [cursor.fetchone()[0]]
        book = queries("suppression")
        lifted = [Change(**row._asdict(), lifted=True) for row in book.lift_stops(connection, event_ids=ids)]
        kept = [Change(**row._asdict()) for row in book.keep_stops(connection, event_ids=ids)]
        write_down(connection, silence_journal(keyring=stage.keyring), [*lifted, *kept])


def newest(stage: Any) -> datetime:
    return stage.sql("SELECT max(since) FROM otn.suppression")[0][0]


def test_a_campaign_after_the_restore_leaves_them_out(stage, file, monkeypatch, tmp_path):
    monkeypatch.setenv("OTN_ERASURE_JOURNAL", str(tmp_path / "kept" / "erasures.jsonl"))
    stopped, came_back, objected, had_stopped, *others = stage.opt_in(8)
    word(stage, had_stopped, "stop_word")
    guard.check(stage.engine)
    assert apply_silences(stage.engine, stage.keyring) == Returned()
    dump = dumped(stage.engine, tmp_path / "night.dump")
    for psid, meaning in ((stopped, "stop_word"), (came_back, "stop_word"), (came_back, "start_word")):
        word(stage, psid, meaning)
    word(stage, had_stopped, "start_word")
    with transaction(stage.engine) as connection:
        page = pages.find(connection, "messenger_default")
        journal = silence_journal(keyring=stage.keyring)
        objection.suppress(connection, page, objected, topic=None, actor="test", journal=journal)
    last = newest(stage)

    put_back(stage.engine, dump)
    with pytest.raises(SendingHaltedError):
        stage.planned()
    assert apply_silences(stage.engine, stage.keyring) == Returned(silenced=2, lifted=1)
    confirming.confirm(stage.engine, actor="test", reason="disk broke")
    assert newest(stage) == last
    figures = stage.run(stage.planned("summer"))
    assert figures["excluded"] == {"suppressed": 2}
    assert stage.seen() == dict.fromkeys((came_back, had_stopped, *others), 1)
