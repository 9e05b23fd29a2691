"""One version, told everywhere alike; a changelog that says what an upgrade asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import pytest

from otn.cli.app import version
from otn.database.schema import migrations
from otn.settings import ROOT

HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+|Unreleased)\](?: \u2013 (\d{4}-\d\d-\d\d|unreleased))?$")


@dataclass(frozen=True)
class Release:
    """One section of the changelog."""

    name: str
    day: str | None
    text: str

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(map(int, self.name.split(".")))


def releases(text: str) -> list[Release]:
    """The sections, newest first.

    Raises:
        AssertionError: a heading cannot be read, or the order is wrong.
    """
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    found = []
    for section in sections:
        heading, _, rest = section.partition("\n")
        match = HEADING.match(heading)
        assert match, f"{heading!r} is not '## [version] \N{EN DASH} date'"
        found.append(Release(match[1], match[2], rest))
    unreleased = [place for place, one in enumerate(found) if one.name == "Unreleased" or one.day == "unreleased"]
    assert unreleased in ([], [0]), "only what stands on top may be unreleased"
    numbered = [one for one in found if one.name != "Unreleased"]
    assert [one.number for one in numbered] == sorted({one.number for one in numbered}, reverse=True)
    days = [date.fromisoformat(one.day) for one in numbered if one.day not in {None, "unreleased"}]
    assert days == sorted(days, reverse=True)
    return found


CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_newest_release_is_the_version_of_the_package() -> None:
    numbered = [one for one in releases(CHANGELOG) if one.name != "Unreleased"]
    assert numbered[0].name == version()


def test_every_migration_stands_in_the_upgrade_notes_of_one_release() -> None:
    noted = [
        number
        for one in releases(CHANGELOG)
        for notes in re.findall(r"^### Upgrade\n(.*?)(?=^### |\Z)", one.text, flags=re.MULTILINE | re.DOTALL)
        for number in re.findall(r"`(\d{4})`", notes)
    ]
    assert sorted(noted) == [one.version for one in migrations()]


def test_image_names_carry_the_version() -> None:
    tags = set()
    for name in ("docker-compose.yaml", "deploy/kubernetes.yaml", "plugins/otn/local/env_file.py"):
        text = (ROOT / name).read_text(encoding="utf-8")
        tags |= set(re.findall(r"\botn:(\d+\.\d+\.\d+)", text))
    assert tags == {version()}


TOP = "## [0.2.0] \N{EN DASH} 2027-01-02\n\n"


@pytest.mark.parametrize(
    "wrong",
    [
        TOP + "## [0.2.0] \N{EN DASH} 2027-01-01\n",
        "## [0.1.0] \N{EN DASH} 2026-01-01\n\n" + TOP,
        TOP + "## [0.1.0] \N{EN DASH} 2027-02-02\n",
        TOP + "## [0.1.0] \N{EN DASH} unreleased\n",
        TOP + "## [Unreleased]\n",
        TOP + "## 0.1.0\n",
        TOP + "## [0.1.0] \N{EN DASH} 2026-13-01\n",
    ],
    ids=["twice", "order", "dates", "unreleased", "below", "heading", "no-day"],
)
def test_an_untidy_changelog_is_found(wrong: str) -> None:
    assert len(releases("# Changelog\n\n## [Unreleased]\n\n" + TOP)) == 2
    with pytest.raises((AssertionError, ValueError)):
        releases("# Changelog\n\n" + wrong)
