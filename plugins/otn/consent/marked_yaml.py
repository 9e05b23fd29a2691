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
NUMBER_LIMIT = 40  # characters; YAML also counts to the base 60, for which a long number takes seconds
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})

Path = tuple[str | int, ...]


class YamlError(UsageError):
    """The file cannot be read as YAML. Correct it at the line that is named."""

    def __init__(self, line: int | None, wrong: str) -> None:
        super().__init__(f"Line {line}: {wrong}" if line else wrong)
        self.line = line
        self.wrong = wrong


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


class _NoAlias:
    def compose_node(self, parent: Any, index: Any) -> Any:
        parser: Any = super()
        if parser.check_event(yaml.AliasEvent):
            line = parser.peek_event().start_mark.line + 1
            raise YamlError(line, "An alias (*name) is not allowed. Write the part out.")
        return parser.compose_node(parent, index)


class _Loader(_NoAlias, yaml.SafeLoader):  # type: ignore[misc]
    pass


try:  # libyaml reads three times as fast; its own composer is left out, as it crashes where Python's is "too deep"
    from yaml.composer import Composer  # type: ignore[import-untyped]
    from yaml.constructor import SafeConstructor  # type: ignore[import-untyped]
    from yaml.cyaml import CParser  # type: ignore[import-untyped]
    from yaml.resolver import Resolver  # type: ignore[import-untyped]

    class _Quick(_NoAlias, Composer, CParser, SafeConstructor, Resolver):  # type: ignore[misc]
        def __init__(self, raw: bytes) -> None:
            CParser.__init__(self, raw)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

except ImportError:  # PyYAML without libyaml
    _Quick = _Loader  # type: ignore[misc]


def read(raw: bytes) -> Document:
    """Read one document.

    Args:
        raw: the file.

    Raises:
        YamlError: it is too large, broken, or uses what is not allowed here; with the line.
    """
    if len(raw) > BYTES_LIMIT:
        raise YamlError(None, f"The file has {len(raw):,} bytes where {BYTES_LIMIT:,} are allowed. Split it.")
    try:
        return _read(_Quick, raw)
    except (yaml.YAMLError, YamlError, RecursionError):
        return _read_exactly(raw)


def _read_exactly(raw: bytes) -> Document:
    """Read as PyYAML does by itself: it says better than libyaml where a mistake is."""
    try:
        return _read(_Loader, raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        wrong = str(getattr(error, "problem", None) or "there are bytes that are no UTF-8 text")
        raise YamlError(mark.line + 1 if mark else None, f"This is no YAML: {wrong}. Correct it.") from None
    except RecursionError:
        raise YamlError(None, "The file is nested too deeply. Write it flatter.") from None


def _read(kind: Any, raw: bytes) -> Document:
    lines: dict[Path, int] = {}
    loader = kind(raw)
    node = loader.get_single_node()
    return Document(None if node is None else _value(loader, node, (), lines), lines)


def _value(loader: Any, node: Any, path: Path, lines: dict[Path, int]) -> Any:
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


def _scalar(loader: Any, node: Any) -> Any:
    endless = node.tag in _NUMBERS and len(node.value) > NUMBER_LIMIT
    try:
        if not endless:
            return loader.construct_object(node)
    except (ValueError, OverflowError, LookupError, AttributeError):  # a number or a date by its looks, or by its tag
        pass
    raise YamlError(node.start_mark.line + 1, "This is no number and no date. Put it in quotes.")


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
