"""Files of campaigns under way that are there, that are gone, and a folder that is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from otn.database import transaction
from otn.watch.campaign_files import findings, is_gone
from otn.watch.finding import Finding
from tests.watch.conftest import Place

READ = (
    "INSERT INTO otn.audit (actor, action, page_id, campaign_id, detail)"
    " SELECT 'otn', 'read file', page_id, id, jsonb_build_object('file', %s::text) FROM otn.campaign WHERE id = %s"
)


def found(place: Place, folder: Path) -> list[Finding]:
    with transaction(place.engine) as conn:
        return list(findings(conn, place.pages(), folder))


def bad(place: Place, folder: Path) -> list[str]:
    return [one.subject for one in found(place, folder) if one.level == "alarm"]


@pytest.fixture
def campaign(place: Place) -> int:
    campaign = place.campaign(key="spring/2027-03-01T08:00:00Z")
    place.sql(READ, "spring.yaml", campaign)
    return campaign


@pytest.mark.usefixtures("campaign")
def test_a_file_that_is_gone_is_an_alarm_until_it_is_back(place: Place, tmp_path: Path) -> None:
    (one,) = [one for one in found(place, tmp_path) if one.level == "alarm"]
    assert (
        "spring/2027-03-01T08:00:00Z is sending, and its file spring.yaml is gone: it is not finished." in one.sentence
    )
    assert "otn_retry" in one.advice
    assert "./otn campaigns cancel spring/2027-03-01T08:00:00Z --page" in one.advice
    assert place.merge(*found(place, tmp_path)) == (1, 0)
    (tmp_path / "spring.yaml").write_text("broken: [")  # the DAG of a broken file stays
    assert bad(place, tmp_path) == []
    assert place.merge(*found(place, tmp_path)) == (0, 1)


def test_who_is_not_planned_will_not_get_it(place: Place, tmp_path: Path) -> None:
    waits = place.value(
        "INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, send_at)"
        " VALUES (%s, %s, 'once', '{}', sha256('x'), false, 'scheduled', now() + interval '1 hour') RETURNING id",
        *(place.page_row, place.topic_row),
    )
    place.sql(READ, "once.yaml", waits)
    (one,) = [one for one in found(place, tmp_path) if one.level == "alarm"]
    assert one.sentence.endswith("is gone: it will not be sent.")
    assert "otn_retry" not in one.advice


@pytest.mark.usefixtures("campaign")
@pytest.mark.parametrize("state", ["finished", "cancelled"])
def test_what_is_over_needs_no_file(place: Place, tmp_path: Path, state: str) -> None:
    place.sql("UPDATE otn.campaign SET state = %s, finished_at = now()", state)
    assert bad(place, tmp_path) == []


def test_a_campaign_that_no_file_made_needs_none(place: Place, tmp_path: Path) -> None:
    place.campaign()
    assert bad(place, tmp_path) == []


@pytest.mark.usefixtures("campaign")
def test_of_a_folder_that_is_away_one_alarm_is_told_and_nothing_of_its_files(place: Place, tmp_path: Path) -> None:
    (one,) = found(place, tmp_path / "away")
    assert (one.level, one.subject) == ("alarm", "")
    assert "is not there, and 1 campaigns" in one.sentence
    assert not is_gone(tmp_path / "away", "spring.yaml")
    assert is_gone(tmp_path, "spring.yaml")


def test_an_installation_without_campaign_files_needs_no_folder(place: Place, tmp_path: Path) -> None:
    told = found(place, tmp_path / "away")
    assert {one.level for one in told} == {"ok"}
    assert not any("is there" in one.sentence for one in told)
