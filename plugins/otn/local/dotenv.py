"""Variables from a ``.env`` file, read as Docker Compose and shells commonly write them."""

from __future__ import annotations

import re
from pathlib import Path

from otn.errors import ConfigurationError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_dotenv(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines.

    A value may stand in single quotes (taken as it is), in double quotes (backslash escapes) or bare. A bare value
    that starts with a brace is JSON and taken whole; any other bare value ends at `` #``. Nothing is substituted.

    Args:
        path: the file; a missing one is empty.

    Raises:
        ConfigurationError: a line is no assignment, or the file is not text. The text itself is never shown: it
            holds secrets.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise ConfigurationError(f"{path} cannot be read ({kind}). Make it a UTF-8 text file.") from None
    values = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match[2]) if match else None
        if match is None or value is None:
            raise ConfigurationError(f"Line {number} of {path} is not NAME=value. Correct it, or put # before it.")
        values[match[1]] = value
    return values


def _value(text: str) -> str | None:
    if text.startswith("{"):
        return text
    if text[:1] in {"'", '"'}:
        pattern = r"'([^']*)'\s*(?:#.*)?" if text[0] == "'" else r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?'
        match = re.fullmatch(pattern, text)
        if match is None:
            return None
        return match[1] if text[0] == "'" else re.sub(r"\\(.)", _unescape, match[1])
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])
