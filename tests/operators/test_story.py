"""What people at the console did is what became of it: on the pages, in the database, and on the platform."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from otn.campaign.report import export_rows
from tests.operators.conftest import PEOPLE
from tests.operators.story import SILENT, TITLE, TOPIC, Story
from tests.system.accounts import assert_honest, figures, seen
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_nobody_is_in_without_login_and_the_way_to_it_is_shown(story: Story) -> None:
    code, words = story.strangers
    assert code == 401
    assert "Log in first" in words
    assert "spring" not in words


def test_a_viewer_looks_and_does_not_touch(story: Story) -> None:
    found = story.viewer
    assert (found["home"], found["campaign"]) == (200, 200)
    assert (found["compose"], found["resume"]) == (403, 403)
    assert found["menu"] == ["Home", "Topics", "Campaigns"]
    assert found["buttons"] == []
    assert found["state"] == "paused", "her attempt to resume it has changed nothing"


def test_a_topic_is_made_by_whoever_may_act(system: System, story: Story) -> None:
    made = system.rows("SELECT title, payload, registered_at FROM otn.topic WHERE key = %s", TOPIC)
    assert [(row.title, row.payload, row.registered_at is not None) for row in made] == [(TITLE, TOPIC, True)]
    who = system.rows("SELECT actor FROM otn.audit WHERE action = 'topic_registered' AND actor = 'ann'")
    assert len(who) == 1


def test_the_form_counts_and_gives_a_reason_for_everyone_left_out(story: Story) -> None:
    counted = story.counted["spring"]
    assert f"{PEOPLE} people" in counted
    assert f"{PEOPLE + SILENT}" in counted
    assert TITLE in counted, "what people said yes to stands beside the text"


def test_another_person_approves_and_is_shown_count_and_reasons(system: System, story: Story) -> None:
    asked = story.asked["spring"]
    assert asked["subject"] == f"Send “spring” to {PEOPLE} people?"
    assert f"| get it | {PEOPLE} |" in asked["body"]
    assert f"| asked not to be written to | {SILENT} |" in asked["body"]
    row = system.rows("SELECT approved_by FROM otn.campaign WHERE key = 'spring'")[0]
    assert row.approved_by.startswith("bob"), "not ann, who wrote it"


def test_what_is_approved_for_later_waits_for_its_time(system: System, story: Story) -> None:
    verdict, messages = story.scheduled
    assert "scheduled" in verdict
    assert messages == 0
    row = system.rows("SELECT send_at, started_at, approved_at FROM otn.campaign WHERE key = 'spring'")[0]
    assert row.approved_at < row.send_at <= row.started_at


def test_the_progress_moves_by_itself(story: Story) -> None:
    first, second = story.progress
    assert 0 < first < second


def test_a_pause_holds_it_and_a_resumption_ends_it(system: System, story: Story) -> None:
    assert story.held["then"] == story.held["before_resuming"] < PEOPLE
    scene = system.scenes["spring"]
    assert_honest(system, scene)
    assert seen(system, scene) == Counter(scene.reachable), "everybody once"
    told = figures(system, scene)
    assert (told["state"], told["audience"] - told["planned"]) == ("finished", SILENT)
    assert (told["sent"], told["refused"]) == (len(scene.reachable), len(scene.blocked))
    assert (told["unknown"], told["waiting"], told["sending"]) == (0, 0, 0)
    decided = "SELECT action FROM otn.audit WHERE action IN ('paused', 'resumed') AND actor = 'ann' ORDER BY id"
    assert [row.action for row in system.rows(decided)] == ["paused", "resumed"]


def test_a_cancelled_campaign_leaves_the_rest_unspent(system: System, story: Story) -> None:
    scene = system.scenes["summer"]
    assert_honest(system, scene)
    told = figures(system, scene)
    assert told["state"] == "cancelled"
    assert seen(system, scene).total() == story.spared["told"] == told["sent"] < PEOPLE
    assert told["cancelled"] == PEOPLE - told["sent"] - told["refused"] - told["unknown"] > 0


def test_a_refused_recipient_is_found(system: System, story: Story) -> None:
    scene = system.scenes["spring"]
    refused = {
        row.id for row in system.rows("SELECT id FROM otn.subscriber WHERE psid = ANY(%s)", sorted(scene.blocked))
    }
    assert set(story.refused["numbers"]) == refused
    assert len(story.refused["numbers"]) == len(refused)
    assert "refused" in story.refused["calls"]


def test_names_and_psids_are_for_those_who_may_see_people(story: Story) -> None:
    assert story.refused["person"] == 403, "ann may act, and not see people"
    assert story.refused["viewer_with_psid"] == 403
    assert b"psid" not in story.csv["ann"].splitlines()[0]
    assert b"psid" in story.csv["admin"].splitlines()[0]


def test_the_csv_is_the_ledger(system: System, story: Story) -> None:
    scene = system.scenes["spring"]
    rows = list(csv.DictReader(io.StringIO(story.csv["admin"].decode("utf-8-sig"))))
    stored = list(export_rows(system.engine, system.campaign_id(scene)))
    assert [int(row["subscriber_id"]) for row in rows] == [one["subscriber_id"] for one in stored]
    for row, one in zip(rows, stored, strict=True):
        assert (row["state"], int(row["attempts"])) == (one["state"], one["attempts"])
        assert row["message_id"] == (one["message_id"] or "")
    assert {row["psid"] for row in rows if row["state"] == "sent"} == set(seen(system, scene))
    assert Counter(row["state"] for row in rows) == {"sent": len(scene.reachable), "refused": len(scene.blocked)}
    without = list(csv.DictReader(io.StringIO(story.csv["ann"].decode("utf-8-sig"))))
    assert without == [{name: value for name, value in row.items() if name != "psid"} for row in rows]
