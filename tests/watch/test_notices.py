"""News of campaigns: told once, at least, with the honest end; nobody is told what is no longer so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otn.watch import notices
from tests.watch.conftest import Place


class Post:
    """Who is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.broken = False

    def __call__(self, title: str, text: str) -> None:
        if self.broken:
            raise OSError("nobody there")
        self.got.append((title, text))


@pytest.fixture
def post() -> Post:
    return Post()


def tell(place: Place, post: Post) -> int:
    return notices.tell(place.engine, post, lambda number: f"https://airflow.example/otn/campaigns/{number}")


def move(place: Place, campaign: int, *states: str) -> None:
    for state in states:
        place.sql(
            "UPDATE otn.campaign SET state = %s::otn.campaign_state,"
            " finished_at = CASE WHEN %s = 'finished' THEN now() END WHERE id = %s",
            *(state, state, campaign),
        )


def recipients(place: Place, campaign: int, **counts: int) -> None:
    rows: dict[str, str] = {
        "sent": "'sent', 1, gen_random_uuid(), 0, 'answer', 'm', now(), NULL, NULL",
        "refused": "'refused', 1, gen_random_uuid(), 0, NULL, NULL, NULL, 551, NULL",
        "unknown": "'unknown', 1, gen_random_uuid(), 1, NULL, NULL, NULL, NULL, 'no_answer'",
    }
    for state, count in counts.items():
        for _ in range(count):
            person = place.person()
            place.sql(
                "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id,"
                " unanswered, evidence, message_id, sent_at, error_code, reason)"
                f" VALUES (%s, %s, %s, 1, {rows[state]})",
                *(campaign, person, place.token(person, 50)),
            )


def test_an_end_is_told_once_and_says_what_it_came_to(place: Place, post: Post) -> None:
    campaign = place.campaign()
    recipients(place, campaign, sent=3, refused=2, unknown=1)
    move(place, campaign, "finished")
    assert tell(place, post) == 1
    assert tell(place, post) == 0
    ((title, text),) = post.got
    assert title == "OTN: spring is finished"
    assert "spring of the page shop is finished: 3 sent, 2 refused, 1 unconfirmed." in text
    assert text.endswith(f"https://airflow.example/otn/campaigns/{campaign}")


def test_a_run_that_is_cleared_tells_nothing_new_and_a_retry_does(place: Place, post: Post) -> None:
    campaign = place.campaign()
    recipients(place, campaign, sent=1, unknown=1)
    move(place, campaign, "finished")
    tell(place, post)
    move(place, campaign, "sending", "finished")
    assert tell(place, post) == 0
    recipients(place, campaign, sent=1)
    move(place, campaign, "sending", "finished")
    assert tell(place, post) == 1
    assert "2 sent, 1 unconfirmed" in post.got[-1][1]


def test_what_is_no_longer_so_is_told_to_nobody(place: Place, post: Post) -> None:
    campaign = place.campaign()
    move(place, campaign, "finished", "sending")
    assert notices.waiting(place.engine) == 0
    assert tell(place, post) == 0
    move(place, campaign, "finished", "sending", "finished")  # came and went: one end
    assert tell(place, post) == 1
    move(place, campaign, "sending", "finished")
    place.sql("UPDATE otn.notice SET at = now() - interval '8 days' WHERE settled_at IS NULL")
    assert notices.waiting(place.engine) == 0


def test_a_campaign_that_awaits_a_yes_is_told_each_time_it_asks(place: Place, post: Post) -> None:
    campaign = place.campaign("draft")
    move(place, campaign, "awaiting_approval")
    assert tell(place, post) == 1
    assert post.got[0][0] == "OTN: spring awaits approval"
    move(place, campaign, "scheduled", "awaiting_approval")  # too late, or more people than the yes covered
    assert tell(place, post) == 1


def test_a_notifier_that_fails_leaves_it_to_the_next_run(place: Place, post: Post) -> None:
    campaign = place.campaign()
    move(place, campaign, "finished")
    post.broken = True
    with pytest.raises(OSError, match="nobody"):
        tell(place, post)
    assert notices.waiting(place.engine) == 1
    post.broken = False
    assert tell(place, post) == 1


def test_whoever_dies_while_telling_has_it_told_later(place: Place, post: Post, monkeypatch: Any) -> None:
    move(place, place.campaign(), "finished")
    monkeypatch.setattr(notices, "queries", _dying(notices.queries))
    with pytest.raises(KeyboardInterrupt):
        tell(place, post)
    monkeypatch.undo()
    assert tell(place, post) == 0  # it may still be at it
    place.sql("UPDATE otn.notice SET claimed_until = now()")
    assert tell(place, post) == 1


def _dying(real: Any) -> Any:
    class Dying:
        def __getattr__(self, name: str) -> Any:
            if name in {"settle_notices", "release_notices"}:
                raise KeyboardInterrupt
            return getattr(real("notice"), name)

    return lambda _: Dying()


def test_two_that_tell_at_once_tell_it_once(place: Place, post: Post) -> None:
    for key in ("spring", "summer", "autumn"):
        move(place, place.campaign(key=key), "finished")
    with ThreadPoolExecutor(4) as threads:
        told = sum(threads.map(lambda _: tell(place, post), range(8)))
    assert told == 3
    assert sum(text.count("is finished") for _, text in post.got) == 3


def test_what_an_operator_typed_is_one_line_of_plain_text(place: Place, post: Post) -> None:
    move(place, place.campaign(key="{{ conn.otn_db }}\r\nBcc: all@example.org"), "finished")
    tell(place, post)
    ((title, text),) = post.got
    assert "\n" not in title
    assert "{{ conn.otn_db }}" in text


def test_without_an_address_of_airflow_a_command_is_named(place: Place, post: Post) -> None:
    move(place, place.campaign(), "finished")
    notices.tell(place.engine, post, lambda _: None)
    assert "`./otn report spring --page shop`" in post.got[0][1]
