"""From figures to pages: templates, and how moments, numbers and states are said."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from otn.console import words

TEMPLATES = Path(__file__).with_name("templates")


def moment(value: datetime | str | None, absent: str = "-") -> Markup:
    """A moment that the reader's browser turns into his own zone; in UTC where it cannot."""
    if value is None:
        return escape(absent)
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{:%Y-%m-%d %H:%M} UTC</time>').format(
        at.isoformat(timespec="seconds"), at, at
    )


def number(value: float | None) -> str:
    """With thousands set apart."""
    return "-" if value is None else f"{value:,}"


def month(value: str) -> str:
    """A month such as ``2026-11``, by its name."""
    return f"{date.fromisoformat(f'{value}-01'):%b %Y}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent; nothing of nothing is a dash."""
    if not whole:
        return "-"
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.1:
        return "< 0.1 %"
    return f"{per_cent:.1f} %"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(moment=moment, month=month, number=number)
    made.globals.update(share=share, words=words)
    return made


ENVIRONMENT = _environment()


def show(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Answer with a page.

    Args:
        request: what is answered.
        template: file in ``templates``.
        status: HTTP code.
        values: what the template names.
    """
    base = request.scope.get("root_path", "")
    page = ENVIRONMENT.get_template(template).render(base=base, request=request, **values)
    return HTMLResponse(page, status_code=status)


def show_problem(request: Request, sentence: str, *, status: int) -> HTMLResponse:
    """Answer with a sentence that says what is wrong and what to do."""
    return show(request, "problem.html", status=status, sentence=sentence)
