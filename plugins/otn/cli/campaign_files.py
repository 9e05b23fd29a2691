"""Campaign files: checked before they are merged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, settings
from otn.orchestration.campaign_files import CampaignFile, CampaignFileError, campaign_paths, read_files
from otn.settings import campaigns_folder


def add_to(group: typer.Typer) -> None:
    """Add the command to those of campaigns."""
    group.command("validate")(validate)


def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Campaign files; all of the folder by default.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check campaign files, each mistake with its line; exit code 1 when one is broken. Needs no database."""
    paths = files or campaign_paths(campaigns_folder(settings(home)))
    found = list(_watched(paths))
    if as_json:
        screen.print_json([_figures(path, one) for path, one in found])
    else:
        for path, one in found:
            for line in _lines(path, one):
                screen.say(line)
        if not found:
            screen.say("There is no campaign file.")
    if any(isinstance(one, CampaignFileError) for _, one in found):
        raise typer.Exit(1)


def _watched(paths: list[Path]) -> Iterator[tuple[Path, CampaignFile | CampaignFileError]]:
    with screen.Stages() as stages:
        stages.stage(f"Reading {len(paths):,} files")
        yield from zip(paths, read_files(paths, thorough=True), strict=True)


def _lines(path: Path, found: CampaignFile | CampaignFileError) -> list[str]:
    if isinstance(found, CampaignFile):
        return [f"{screen.plain(path.name)}: well. {found.schedule}"]
    return [screen.plain(mistake) for mistake in found.mistakes]


def _figures(path: Path, found: CampaignFile | CampaignFileError) -> dict[str, Any]:
    if isinstance(found, CampaignFile):
        return {
            "file": path.name,
            "dag": found.dag_id,
            "sha256": found.sha256,
            "schedule": str(found.schedule),
            "mistakes": [],
        }
    mistakes = [{"line": one.line, "field": one.name, "text": one.text} for one in found.mistakes]
    return {"file": path.name, "dag": None, "sha256": None, "schedule": None, "mistakes": mistakes}
