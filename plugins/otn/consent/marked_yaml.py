"""YAML that people write, read with the line of each thing, and nothing that could surprise.

No aliases, which can describe a billion parts in two hundred bytes; no key twice, of which YAML keeps one; no objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from otn.errors import UsageError

BYTES_LIMIT = 512 * 1024

Path = tuple[str | int, ...]


class YamlError(UsageError):
    """The file cannot be read as YAML. Correct it at the line that is named."""

    def __init__(self, line: int | None, wrong: str) -> None:
        super().__init__(f"Line {line}: {wrong}" if line else wrong)


@dataclass(frozen=True)
class Document:
    """What a file says.

    Args:
        value: mappings, lists, texts, numbers; keys are texts as they were written.
        lines: where each part begins, by the way that leads to it.
    """

    value: Any
    lines: Mapping[Path, int]

    def line(self, *path: str | int) -> int:
        """The line of a part, or of what would hold it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise YamlError(line, "An alias (*name) is not allowed. Write the part out.")
        return super().compose_node(parent, index)


def read(raw: bytes) -> Document:
    """Read one document.

    Args:
        raw: the file.

    Raises:
        YamlError: it is too large, broken, or uses what is not allowed here; with the line.
    """
    if len(raw) > BYTES_LIMIT:
        raise YamlError(None, f"The file has {len(raw):,} bytes where {BYTES_LIMIT:,} are allowed. Split it.")
    lines: dict[Path, int] = {}
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        value = None if node is None else _value(loader, node, (), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        wrong = str(getattr(error, "problem", None) or "there are bytes that are no UTF-8 text")
        raise YamlError(mark.line + 1 if mark else None, f"This is no YAML: {wrong}. Correct it.") from None
    except RecursionError:
        raise YamlError(None, "The file is nested too deeply. Write it flatter.") from None
    return Document(value, lines)


def _value(loader: _Loader, node: Any, path: Path, lines: dict[Path, int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*path, place), lines) for place, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    found: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(line, "A key is no text. Write it as key: value.")
        if key.value in found:
            raise YamlError(line, f"The key {key.value!r} is there twice. Keep one of them.")
        lines[*path, key.value] = line
        found[key.value] = _value(loader, item, (*path, key.value), lines)
    return found


def _scalar(loader: _Loader, node: Any) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, OverflowError):  # a number or a date by its looks
        raise YamlError(node.start_mark.line + 1, "This is no number and no date. Put it in quotes.") from None


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's name for it
        return True


def _text(dumper: Any, text: str) -> Any:
    # Other line breaks than \n, and what nobody sees, survive between double quotes only.
    plain = all(line.isprintable() for line in text.split("\n"))
    style = '"' if not plain else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write(value: Any) -> str:
    """Write a document that ``read`` gives back, in the order of its keys; the same value is always the same text."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)
    return str(text)
