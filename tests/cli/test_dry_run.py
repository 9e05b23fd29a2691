from __future__ import annotations

import json

import pytest

from otn.campaign import control
from otn.campaign.model import CampaignSpec
from otn.database import Engine, transaction

from .conftest import Inside

LEAST = ("plan", "--dry-run", "--page", "shop", "--topic", "restock", "--text", "Hi")


def written(database: Engine) -> tuple[int, int, int]:
    counts = ", ".join(f"(SELECT count(*) FROM otn.{name}) AS {name}" for name in ("campaign", "recipient", "audit"))
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}")
        row = cursor.fetchone()
        assert row
        return (row[0], row[1], row[2])


def test_everyone_is_counted_with_a_reason_and_nothing_is_written(
    inside: Inside, campaign: str, database: Engine
) -> None:
    before = written(database)
    told = inside.json(*LEAST)
    assert told["audience"] == told["planned"] + sum(told["excluded"].values()) == 5
    assert told["tokens_spent"] == told["planned"]
    assert told["excluded"]["suppressed"] == 1
    said = inside(*LEAST).stdout
    assert "asked not to be written to" in said
    assert "Nothing was written" in said
    assert "\x1b" not in said
    assert written(database) == before


def test_the_params_of_a_run_are_read_from_a_file_and_options_go_first(inside: Inside, campaign: str) -> None:
    (inside.home / "conf.json").write_text(
        json.dumps({"campaign": "x", "page": "shop", "topic": "wrong", "text": "Hi", "include_labels": ["nobody"]})
    )
    told = inside.json("plan", "--dry-run", "--conf", "conf.json", "--topic", "restock")
    assert (told["planned"], told["audience"]) == (0, 5)
    assert told["excluded"]["label_missing"] >= 1
    assert "wrong" in inside("plan", "--dry-run", "--conf", "conf.json", code=None).stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plan",), "Add --dry-run"),
        (("plan", "--dry-run", "--text", "Hi"), "'topic' is missing"),
        ((*LEAST, "--conf", "nobody.json"), "max_recipients is 0"),
        (("plan", "--dry-run", "--conf", "gone.json"), "cannot be read"),
        (("plan", "--dry-run", "--conf", "list.json"), "holds no JSON object"),
        (("plan", "--dry-run", "--conf", "typo.json"), "There is no param 'dry_rnu'"),
    ],
    ids=["no dry run", "no topic", "nobody", "no file", "no object", "typing error"],
)
def test_what_cannot_be_used_is_a_wrong_use(inside: Inside, words: tuple[str, ...], sentence: str) -> None:
    (inside.home / "list.json").write_text("[]")
    (inside.home / "nobody.json").write_text('{"max_recipients": 0}')
    (inside.home / "typo.json").write_text('{"topic": "restock", "text": "Hi", "dry_rnu": true}')
    assert sentence in inside(*words, code=2).stderr


def test_decisions_say_as_json_how_the_campaign_stands(inside: Inside, campaign: str) -> None:
    states = [
        inside.json("campaigns", *words)["state"]
        for words in (("pause", campaign), ("resume", campaign), ("cancel", campaign, "--yes"))
    ]
    assert states == ["paused", "sending", "cancelled"]


def test_a_campaign_is_shown_as_its_page_shows_it(inside: Inside, campaign: str) -> None:
    told = inside.json("campaigns", "show", campaign)
    assert [one["step"] for one in told["funnel"]] == ["Planned", "Sent", "Delivered", "Seen", "Reacted"]
    assert [one["people"] for one in told["funnel"]][:2] == [told["planned"], told["sent"]] == [4, 1]
    assert told["done"] == 3
    assert sum(one["people"] for one in told["refusals"]) == told["refused"] == 1
    assert all(one["why"] for one in told["refusals"])
    assert told["verdict"] == "1 sent, 1 refused, 1 unconfirmed, 1 to go"
    assert [one["what"] for one in told["timeline"]][-1] == "Opened."
    said = inside("campaigns", "show", campaign).stdout
    assert told["verdict"] in said
    assert "75.0 %, 3 of 4" in said
    assert "Opened." in said
    assert "\x1b" not in said


def test_a_campaign_that_has_not_started_has_a_page_too(inside: Inside, campaign: str, database: Engine) -> None:
    control.open_campaign(
        database,
        CampaignSpec(key="later", message={"text": "Hi"}),
        page_row_id=1,
        facebook_page_id="1001",
        topic_row_id=1,
        topic_key="restock",
        actor="ann",
    )
    told = inside.json("campaigns", "show", "later")
    assert (told["planned"], told["funnel"], told["done"]) == (0, [], 0)
    assert [one["what"] for one in told["timeline"]] == ["Opened: it awaits approval."]
    assert "before somebody says yes" in inside("campaigns", "show", "later").stdout
    assert "nowhere" in inside("campaigns", "show", "nowhere", code=None).stderr
