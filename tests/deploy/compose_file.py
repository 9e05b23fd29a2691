"""``docker-compose.yaml`` as Docker Compose understands it: variables replaced, services with their environment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from otn.local.dotenv import read_dotenv

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class UnsetError(Exception):
    """A variable that is needed is not set."""


@dataclass
class Template:
    """Replaces ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:?why}`` and ``$$``.

    Args:
        values: the variables.
    """

    values: Mapping[str, str]

    def fill(self, text: str) -> str:
        done, rest = [], text
        while "$" in rest:
            before, _, rest = rest.partition("$")
            done.append(before)
            if rest.startswith("$"):
                done.append("$")
                rest = rest[1:]
            elif rest.startswith("{"):
                inside, rest = _braces(rest)
                done.append(self._value(inside))
            elif match := _NAME.match(rest):
                done.append(self.values.get(match[0], ""))
                rest = rest[match.end() :]
            else:
                raise ValueError(f"a lone $ before {rest[:20]!r}")
        return "".join([*done, rest])

    def _value(self, inside: str) -> str:
        match = _NAME.match(inside)
        assert match, inside
        name, rest = match[0], inside[match.end() :]
        value = self.values.get(name)
        if not rest:
            return value or ""
        operator = re.match(r":-|-|:\?|\?", rest)
        assert operator, inside
        lacks = value is None or (operator[0].startswith(":") and not value)
        if not lacks:
            return str(value)
        if operator[0].endswith("?"):
            raise UnsetError(f"{name}: {rest[operator.end() :]}")
        return self.fill(rest[operator.end() :])


def _braces(text: str) -> tuple[str, str]:
    depth = 0
    for place, char in enumerate(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0:
            return text[1:place], text[place + 1 :]
    raise ValueError(f"no end of {text[:20]!r}")


def read(path: Path = FILE) -> dict[str, Any]:
    """The file as it is written."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def filled(dotenv: Path, path: Path = FILE) -> dict[str, Any]:
    """The file with the variables of a ``.env`` in their places."""
    template = Template(read_dotenv(dotenv))

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return template.fill(value) if isinstance(value, str) else value

    found: dict[str, Any] = walk(read(path))
    return found


def environment(service: Mapping[str, Any], dotenv: Path) -> dict[str, str]:
    """What a service's programs find: ``environment`` goes before ``env_file``."""
    outside = read_dotenv(dotenv) if service.get("env_file") else {}
    return outside | service.get("environment", {})


def words(value: str | list[str] | None) -> list[str]:
    """A command as a list."""
    return shlex.split(value) if isinstance(value, str) else list(value or [])


def variables(text: str) -> dict[str, bool]:
    """Names of all variables in a text, and whether each is needed: has no default."""
    found: dict[str, bool] = {}
    for name, operator in re.findall(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?])?", text):
        found[name] = found.get(name, False) or operator not in {":-", "-"}
    return found
