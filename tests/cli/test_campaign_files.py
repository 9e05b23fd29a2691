from __future__ import annotations

from pathlib import Path

from .conftest import Shell

GOOD = 'topic: restock\ntext: Hi\nschedule: {cron: "0 9 * * *", timezone: UTC}\nstart: 2027-03-01\n'


def test_files_are_checked_without_a_database(otn: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "campaigns"
    folder.mkdir()
    environ = {"OTN_CAMPAIGNS_DIR": str(folder), "AIRFLOW_CONN_OTN_DB": ""}
    assert otn("campaigns", "validate", **environ).stdout == "There is no campaign file.\n"
    (folder / "spring.yaml").write_text(GOOD)
    (folder / "summer.yaml").write_text(GOOD + "canary: many\ntopics: x\n")
    broken = otn("campaigns", "validate", code=1, **environ)
    assert "spring.yaml: well. 0 9 * * * UTC from 2027-03-01T00:00:00+00:00\n" in broken.stdout
    assert "summer.yaml, line 5, canary: canary is 'many'" in broken.stdout
    assert "summer.yaml, line 6, topics: There is no field 'topics' here" in broken.stdout


def test_named_files_and_json(otn: Shell, tmp_path: Path) -> None:
    (tmp_path / "spring.yaml").write_text(GOOD)
    (tmp_path / "summer.yaml").write_text("text: '{{ first_name'")
    names = [str(tmp_path / name) for name in ("spring.yaml", "summer.yaml", "gone.yaml")]
    well, broken, gone = otn.json("campaigns", "validate", *names, code=1)
    assert (well["file"], well["dag"], well["mistakes"]) == ("spring.yaml", "otn_campaign_spring", [])
    assert (broken["dag"], {mistake["field"] for mistake in broken["mistakes"]}) == (None, {"topic", "schedule"})
    assert gone["mistakes"][0]["text"].startswith("It cannot be read")
