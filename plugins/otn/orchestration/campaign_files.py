"""Campaigns as files: read and checked without Airflow and without a database; each mistake has its line and field."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from otn.consent import marked_yaml
from otn.consent.marked_yaml import BYTES_LIMIT, Document, YamlError
from otn.errors import OtnError, UsageError
from otn.orchestration.campaign_schedule import (
    SCHEDULE_FIELDS,
    Schedule,
    exactly_one,
    read_cron,
    read_local,
    read_zone,
)
from otn.orchestration.params import BroadcastRequest
from otn.orchestration.reading_params import short
from otn.settings import campaigns_folder

DAG_PREFIX = "otn_campaign_"
KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}", re.ASCII)
MOST_DAYS_BEFORE = 366  # a token lives for a year
MISTAKES_SHOWN = 20

SETTINGS = (
    "page",
    "topic",
    "text",
    "message",
    "result_labels",
    "canary",
    "canary_labels",
    "approval",
    "if_late",
    "late_after",
    "max_refused",
)
AUDIENCE = ("include_labels", "exclude_labels", "filter", "max_recipients")
FIELDS = (*SETTINGS, "audience", "schedule", "start", "stop", "catchup")


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a file.

    Args:
        file: its name.
        line: where; None: the file as a whole.
        name: of the field, such as ``audience.filter``; empty: the file as a whole.
        text: what is wrong, and what to do.
    """

    file: str
    line: int | None
    name: str
    text: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, f"line {self.line}" if self.line else "", self.name) if part)
        return f"{place}: {self.text}"


class CampaignFileError(UsageError):
    """The campaign file cannot be used. Correct the mistakes that are named."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        shown = [str(mistake) for mistake in self.mistakes[:MISTAKES_SHOWN]]
        more = len(self.mistakes) - len(shown)
        super().__init__(
            "\n".join([*shown, *([f"… and {more:,} more. See `./otn campaigns validate`."] if more else [])])
        )


@dataclass(frozen=True)
class CampaignFile:
    """A campaign file that can be used.

    Args:
        key: of the campaign: the file's name without ``.yaml``.
        sha256: of the file's bytes, hexadecimal.
        settings: params of ``otn_broadcast``, but its key and moment.
        schedule: when it is sent.
        opted_in: only people who opted in during the interval, so long ago: 0 is the interval itself. None: whenever.
    """

    key: str
    sha256: str
    settings: Mapping[str, Any] = field(repr=False)
    schedule: Schedule
    opted_in: timedelta | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.key}.yaml"

    @property
    def dag_id(self) -> str:
        """Id of its DAG."""
        return f"{DAG_PREFIX}{self.key}"

    @property
    def asks(self) -> bool:
        """A person says yes before anything is sent."""
        return bool(self.settings.get("approval", True))

    def request(self, start: datetime, end: datetime) -> BroadcastRequest:
        """The campaign of one interval; of one moment, if that is the schedule.

        Args:
            start: of the interval; it names the campaign.
            end: of the interval: the moment of sending.
        """
        params = {**self.settings, "send_at": end.isoformat()}
        if self.schedule.at is not None:
            return BroadcastRequest.from_params({**params, "campaign": self.key})
        if self.opted_in is not None:
            window = {
                "opted_in_from": (start - self.opted_in).isoformat(),
                "opted_in_until": (end - self.opted_in).isoformat(),
            }
            params["filter"] = {**(params.get("filter") or {}), **window}
        return BroadcastRequest.from_params({**params, "campaign": interval_key(self.key, start)})


def interval_key(key: str, start: datetime) -> str:
    """Key of the campaign of an interval: ``spring/2027-03-01T08:00:00Z``."""
    return f"{key}/{start.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"


def campaign_paths(folder: Path) -> list[Path]:
    """The campaign files of a folder, by name; those that begin with ``_`` or ``.`` are left alone.

    Raises:
        CampaignFileError: the folder is there and cannot be read, or it was named and is not there.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in {".yaml", ".yml"}]
    except OSError as error:
        if isinstance(error, FileNotFoundError) and folder == campaigns_folder({}):
            return []
        text = f"The folder cannot be read ({error.strerror}). Make it, or correct OTN_CAMPAIGNS_DIR."
        raise CampaignFileError([Mistake(str(folder), None, "", text)]) from None
    return sorted(path for path in found if not path.name.startswith(("_", ".")))


def read_files(paths: Iterable[Path], *, thorough: bool = False) -> Iterator[CampaignFile | CampaignFileError]:
    """Read campaign files; what is wrong with one is no other's concern.

    Args:
        paths: the files.
        thorough: see ``read_file``.

    Yields:
        The file, or what is wrong with it, in order.
    """
    for path in paths:
        try:
            yield read_file(path, thorough=thorough)
        except CampaignFileError as error:
            yield error


def check_folder(folder: Path) -> None:
    """Read every campaign file of a folder thoroughly.

    Raises:
        CampaignFileError: some cannot be used; each is named with line and field.
    """
    found = read_files(campaign_paths(folder), thorough=True)
    mistakes = [mistake for one in found if isinstance(one, CampaignFileError) for mistake in one.mistakes]
    if mistakes:
        raise CampaignFileError(mistakes)


def read_file(path: Path, *, thorough: bool = False) -> CampaignFile:
    """Read a campaign file.

    Args:
        path: the file; its name is the campaign's key.
        thorough: check the message as the platform takes it, and its template: too slow for what reads often.

    Raises:
        CampaignFileError: it cannot be used; all mistakes are named.
    """
    key = path.stem.removeprefix("_")
    if path.suffix != ".yaml" or not KEY.fullmatch(key):
        text = "A campaign file is named <key>.yaml; the key has 1 to 100 of a-z, 0-9, _ and -. Rename it."
        raise CampaignFileError([Mistake(ascii(path.name)[1:-1], None, "", text)])
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for without end
            raise CampaignFileError(
                [Mistake(path.name, None, "", "It cannot be read (no regular file). Put a file there.")]
            )
        with path.open("rb") as opened:
            raw = opened.read(BYTES_LIMIT + 1)
        reader = _Reader(path.name, marked_yaml.read(raw), thorough=thorough)
        return reader.campaign(key, hashlib.sha256(raw).hexdigest())
    except OSError as error:
        mistake = Mistake(path.name, None, "", f"It cannot be read ({error.strerror}). Name a file that is there.")
    except YamlError as error:
        mistake = Mistake(path.name, error.line, "", error.wrong)
    except RecursionError:
        mistake = Mistake(path.name, None, "", "The file is nested too deeply. Write it flatter.")
    raise CampaignFileError([mistake])


class _Reader:
    """A document, and the mistakes in it."""

    def __init__(self, name: str, document: Document, *, thorough: bool) -> None:
        self.name = name
        self.document = document
        self.thorough = thorough
        self.mistakes: list[Mistake] = []

    def campaign(self, key: str, sha256: str) -> CampaignFile:
        content = self._mapping(self.document.value, FIELDS)
        audience = self._mapping(content.get("audience"), (*AUDIENCE, "opted_in"), "audience", default={})
        settings = dict(self._settings(content, audience))
        schedule = self._schedule(content)
        opted_in = self._opted_in(audience)
        if opted_in is not None and schedule is not None and schedule.at is not None:
            self.wrong("One moment has no interval. Use cron, or the filter's opted_in_from.", "audience", "opted_in")
        if opted_in is not None and {"opted_in_from", "opted_in_until"} & set(settings.get("filter") or ()):
            self.wrong("The filter says when people opted in too. Keep one of them.", "audience", "opted_in")
        if not self.mistakes:
            request = self._check(lambda: BroadcastRequest.from_params({"campaign": key, **settings}))
            if request and self.thorough:
                self._check_message(request)
        if self.mistakes or schedule is None:
            raise CampaignFileError(self.mistakes)
        return CampaignFile(key, sha256, settings, schedule, opted_in)

    def wrong(self, text: str, *path: str | int) -> None:
        self.mistakes.append(Mistake(self.name, self.document.line(*path), ".".join(map(str, path)), text))

    def _check(self, read: Callable[[], Any], *path: str) -> Any:
        try:
            return read()
        except OtnError as error:
            self.wrong(str(error), *path)
            return None

    def _check_message(self, request: BroadcastRequest) -> None:
        from otn.rendering import compile_message  # takes as long as reading the file

        self._check(
            lambda: compile_message(request.spec.message), "text" if "text" in self.document.value else "message"
        )

    def _mapping(self, value: Any, known: Iterable[str], *path: str, default: Any = None) -> Mapping[str, Any]:
        if value is None and default is not None:
            return dict(default)
        if not isinstance(value, dict):
            self.wrong(f"This is no mapping. Write it with the fields {', '.join(known)}.", *path)
            return {}
        for name in value:
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
                self.wrong(f"There is no field {short(name)} here. {hint}", *path, name)
        return value

    def _settings(self, content: Mapping[str, Any], audience: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        if content.get("topic") is None:
            self.wrong("The topic is missing. Give its key; `./otn topics list` shows what there is.", "topic")
        given = [(name, content, ()) for name in SETTINGS] + [(name, audience, ("audience",)) for name in AUDIENCE]
        for name, fields, above in given:
            if fields.get(name) is None:
                continue
            value = self._plain(fields[name], (*above, name), dates=name == "filter")
            sample = {"campaign": "key", "topic": "topic", "text": "text", name: value}
            if name == "message":
                del sample["text"]
            self._check(lambda sample=sample: BroadcastRequest.from_params(sample), *above, name)  # type: ignore[misc]
            yield name, value

    def _plain(self, value: Any, path: tuple[str | int, ...], *, dates: bool) -> Any:
        """What JSON can say; YAML makes dates of what looks like one."""
        if isinstance(value, dict):
            return {key: self._plain(item, (*path, key), dates=dates) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, (*path, place), dates=dates) for place, item in enumerate(value)]
        if dates and isinstance(value, date):
            return value.isoformat()
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            self.wrong(f"This is a {type(value).__name__}. Put it in quotes.", *path)
            return None
        return value

    def _schedule(self, content: Mapping[str, Any]) -> Schedule | None:
        fields = self._mapping(content.get("schedule"), SCHEDULE_FIELDS, "schedule")
        if not fields or self._check(lambda: exactly_one(fields), "schedule") is None:
            return None
        zone = self._check(lambda: read_zone(fields.get("timezone")), "schedule", "timezone")
        if zone is None:
            return None
        if fields.get("at") is not None:
            return self._one_moment(content, fields, zone)
        cron = self._check(lambda: read_cron(fields["cron"]), "schedule", "cron")
        start, stop = self._moment(content, "start", zone), self._moment(content, "stop", zone)
        if content.get("start") is None:
            self.wrong("It is missing. Give the day from which on it runs, such as start: 2027-03-01.", "start")
        if start and stop and stop <= start:
            self.wrong("It is not after start: nothing would be sent. Correct one of them.", "stop")
        catchup = content.get("catchup") or False
        if not isinstance(catchup, bool):
            self.wrong(f"This is {short(catchup)}. Give true or false, without quotes.", "catchup")
        return Schedule(zone, cron=cron, start=start, stop=stop, catchup=catchup is True)

    def _one_moment(self, content: Mapping[str, Any], fields: Mapping[str, Any], zone: str) -> Schedule | None:
        for name in ("start", "stop", "catchup"):
            if content.get(name) is not None:
                self.wrong("One moment has no such bound. Take it out, or use cron.", name)
        at = self._check(lambda: read_local(fields["at"], zone), "schedule", "at")
        return Schedule(zone, at=at) if at else None

    def _moment(self, content: Mapping[str, Any], name: str, zone: str) -> datetime | None:
        if content.get(name) is None:
            return None
        return self._check(lambda: read_local(content[name], zone), name)  # type: ignore[no-any-return]

    def _opted_in(self, audience: Mapping[str, Any]) -> timedelta | None:
        value = audience.get("opted_in")
        if value is None:
            return None
        if value == "interval":
            return timedelta()
        days = value.get("days_before") if isinstance(value, dict) and len(value) == 1 else None
        if type(days) is not int or not 1 <= days <= MOST_DAYS_BEFORE:
            self.wrong(
                f"This is {short(value)}. Write interval, or {{days_before: 7}} with 1 to {MOST_DAYS_BEFORE} days.",
                "audience",
                "opted_in",
            )
            return None
        return timedelta(days=days)
