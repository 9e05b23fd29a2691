"""A campaign that is sending, and whose runs are gone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from otn.watch.abandoned import Run, interrupt, note_run
from tests.watch.conftest import Place

OLD = "now() - interval '20 minutes'"
CALLED = "UPDATE otn.recipient SET unanswered = 1, attempts = 1, attempt_id = gen_random_uuid()"


class Airflow:
    """Which runs are alive."""

    def __init__(self, *alive: str) -> None:
        self.alive = alive
        self.asked: list[list[str]] = []

    def __call__(self, runs: Sequence[Run]) -> bool:
        self.asked.append([run.run_id for run in runs])
        return any(run.run_id in self.alive for run in runs)


@pytest.fixture
def campaign(place: Place) -> int:
    """Sending, with one person who waits; nothing has happened for a day."""
    campaign = place.campaign()
    person = place.person()
    place.sql(
        "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk) VALUES (%s, %s, %s, 1)",
        *(campaign, person, place.token(person, 50)),
    )
    note_run(place.engine, campaign, Run("otn_broadcast", "first"))
    note_run(place.engine, campaign, Run("otn_retry", "second"))
    place.sql(f"UPDATE otn.campaign_run SET seen_at = {OLD}")
    return campaign


def state(place: Place, campaign: int) -> str:
    return str(place.value("SELECT state::text FROM otn.campaign WHERE id = %s", campaign))


def test_no_run_alive_and_somebody_waiting_is_interrupted(place: Place, campaign: int) -> None:
    airflow = Airflow()
    assert interrupt(place.engine, airflow) == ["spring"]
    assert airflow.asked == [["first", "second"]]
    assert state(place, campaign) == "interrupted"
    assert interrupt(place.engine, airflow) == []


def test_nobody_waiting_is_finished(place: Place, campaign: int) -> None:
    place.sql("DELETE FROM otn.recipient")
    interrupt(place.engine, Airflow())
    assert state(place, campaign) == "finished"


def test_one_run_alive_of_several_is_enough(place: Place, campaign: int) -> None:
    assert interrupt(place.engine, Airflow("second")) == []
    assert state(place, campaign) == "sending"


@pytest.mark.parametrize(
    "sign",
    [
        "UPDATE otn.campaign_run SET seen_at = now() WHERE run_id = 'first'",
        "INSERT INTO otn.audit (actor, action, campaign_id) SELECT 'ada', 'resumed', id FROM otn.campaign",
        "UPDATE otn.campaign SET started_at = now()",
        f"{CALLED}, state = 'unknown', reason = 'timeout', updated_at = now()",
        f"{CALLED}, state = 'sending', lease_until = now() + interval '1 minute', updated_at = {OLD}",
    ],
)
def test_any_sign_of_life_keeps_it(place: Place, campaign: int, sign: str) -> None:
    place.sql(sign)
    airflow = Airflow()
    assert interrupt(place.engine, airflow) == []
    assert airflow.asked == []


@pytest.mark.parametrize("other", ["paused", "halted", "interrupted", "scheduled"])
def test_only_what_should_be_sending_is_looked_at(place: Place, other: str) -> None:
    place.campaign(other)
    assert interrupt(place.engine, Airflow()) == []


def test_a_campaign_of_which_no_run_is_known_asks_for_any(place: Place) -> None:
    place.campaign()
    airflow = Airflow()
    assert interrupt(place.engine, airflow) == ["spring"]
    assert airflow.asked == [[]]
