"""A stop word while a campaign runs: whoever is not yet claimed when it is stored gets nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from otn.campaign.evidence import settle
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.consent.inbox import Inbox, body, message


class Interrupted:
    """The client, and something that happens while its first call is on the way."""

    def __init__(self, client, meanwhile):
        self.client = client
        self.meanwhile = meanwhile

    def __getattr__(self, name):
        attribute = getattr(self.client, name)
        if name not in {"send", "send_batch"} or self.meanwhile is None:
            return attribute
        happens, self.meanwhile = self.meanwhile, None
        happens()
        return attribute


def say(stage, text, psids, at=None):
    """These people write something; answers when it was stored, and when it was ingested, by Postgres's clock."""
    inbox = Inbox(stage.engine, stage.keyring)
    page = stage.settings.page_id
    at = at or datetime.now(UTC)
    inbox.put(body(*(message(text, psid=psid, page=page, at=at) for psid in psids), page=page))
    stored = stage.sql("SELECT clock_timestamp()")[0][0]
    inbox.ingest(on_events=settle)
    return stored, stage.sql("SELECT clock_timestamp()")[0][0]


def test_a_stop_word_while_a_campaign_runs_is_obeyed_from_its_commit_on(make_stage):
    stage = make_stage(messages_per_second=30)
    psids = stage.opt_in(150)
    campaign = stage.planned()
    silent, others = psids[1::2], psids[::2]
    times = []
    client = Interrupted(stage.client, lambda: times.extend(say(stage, "STOP", silent)))
    stage.send(campaign, client=client)
    stored, committed = times
    states, seen = stage.states(campaign), stage.seen()
    assert {states[psid][0] for psid in others} == {"sent"}
    assert {seen[psid] for psid in others} == {1}
    late = stage.sql(
        "SELECT s.psid, a.at FROM otn.attempt a JOIN otn.subscriber s ON s.id = a.subscriber_id"
        " WHERE a.campaign_id = %s AND a.step = 'intent' AND s.psid = ANY (%s)",
        campaign,
        silent,
    )
    assert [row for row in late if row.at > committed] == []
    called = {row.psid for row in late}
    skipped = [psid for psid in silent if psid not in called]
    assert skipped
    assert {states[psid] for psid in skipped} == {("skipped", None)}
    assert [seen[psid] for psid in skipped] == [0] * len(skipped)
    assert stage.report(campaign)["skipped"] == {"suppressed": len(skipped)}
    stage.promise_holds(campaign)
    (last,) = stage.sql(
        "SELECT greatest(max(r.sent_at), %s) FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id"
        " WHERE s.psid = ANY (%s)",
        stored,
        silent,
    )
    print(
        f"stop word: obeyed {(committed - stored).total_seconds():.3f} s after the webhook was stored, by"
        f" {len(skipped)} of {len(silent)}; the last message claimed before went out"
        f" {(last[0] - stored).total_seconds():.3f} s after it"
    )


def test_a_stop_for_another_topic_changes_nothing_and_a_later_notify_me_is_a_new_consent(stage):
    people = stage.opt_in(4)
    stage.sql("UPDATE otn.token SET opted_in_at = opted_in_at - interval '1 hour'")
    stage.sql(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " VALUES (%s, 'news', 'News', 'news', now())",
        stage.page_row,
    )
    campaign = stage.planned()
    say(stage, "stop news", people[:1])
    say(stage, "stop back in stock", people[1:2])
    say(stage, "stop", people[2:3], at=datetime.now(UTC) - timedelta(minutes=30))
    say(stage, "stop", people[3:4], at=datetime.now(UTC) - timedelta(minutes=90))
    figures = stage.run(campaign)
    assert [stage.states(campaign)[psid][0] for psid in people] == ["sent", "skipped", "skipped", "sent"]
    assert figures["skipped"] == {"suppressed": 2}
