"""Personal fields in messages: a small, bounded part of Jinja, compiled once a campaign.

Only what a sentence needs is allowed: fields, ``default``, a few filters that shape text, and ``if``. Loops, calls
and attribute access are refused when the template is read, so that no text can run long, grow large or look around.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from otn.errors import OtnError, UsageError
from otn.messenger.messages import MessageError, OverLimitError, copy_message, validate_message

FILTERS = frozenset({"default", "d", "upper", "lower", "title", "capitalize", "trim"})
SAMPLE_PERSON = {"first_name": "Alex", "last_name": "Example", "locale": "en_US"}
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.If, nodes.CondExpr,
    nodes.Not, nodes.And, nodes.Or, nodes.Compare, nodes.Operand, nodes.Keyword, nodes.Test,
)  # fmt: skip
_TESTS = frozenset({"defined", "undefined", "none"})
NODES_LIMIT = 200  # of one text; a sentence with a few fields has ten
TOO_NESTED = "The template is nested too deeply, or has too many parts. Write it more simply."
_NUMBER_LIMIT = 2**53  # what JSON holds exactly; Jinja writes an endless number into code that then fails
_FIELD_LIMIT = 500  # characters of one personal field: a name, not a novel


class TemplateError(UsageError):
    """The message's template cannot be used. Correct it and trigger the campaign again."""


class RenderError(OtnError):
    """The message cannot be made for one person.

    Args:
        reason: short and stable; it becomes the recipient's reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The message cannot be made for one person: {reason}. The person is skipped.")
        self.reason = reason


@dataclass(frozen=True)
class MessageTemplate:
    """A Send API message whose texts may hold personal fields.

    Args:
        message: the message as written.
        fields: names of the personal fields that it uses.
    """

    message: dict[str, Any]
    fields: frozenset[str]
    _texts: dict[str, Template]

    def render(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The message for one person.

        Args:
            variables: personal fields; one that is unknown must be absent, so that ``default`` applies.

        Raises:
            RenderError: a field without fall-back is missing, or the result is not within Messenger's limits.
        """
        if not self._texts:
            return self.message
        known = {
            name: value[:_FIELD_LIMIT] if isinstance(value, str) else value
            for name, value in variables.items()
            if value is not None and value != ""
        }
        try:
            message = self._fill(self.message, known)
        except UndefinedError:
            raise RenderError("personal_field_missing") from None
        except (TypeError, ValueError):
            raise RenderError("personal_field_unusable") from None
        try:
            return validate_message(message)
        except OverLimitError:
            raise RenderError("message_over_limit") from None
        except MessageError:
            raise RenderError("message_not_valid") from None

    def sample(self) -> dict[str, Any]:
        """The message as an invented person would get it; a field that the sample lacks shows its own name."""
        return self.render({name: SAMPLE_PERSON.get(name, name) for name in self.fields})

    def _fill(self, value: Any, variables: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            template = self._texts.get(value)
            return template.render(variables) if template else value
        if isinstance(value, dict):
            return {key: self._fill(item, variables) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item, variables) for item in value]
        return value


def compile_message(message: dict[str, Any]) -> MessageTemplate:
    """Read a message and the templates in its texts.

    Args:
        message: a Send API message object.

    Raises:
        TemplateError: a text is no valid template, or uses what is not allowed here.
        MessageError: the message is none that the Send API takes.
    """
    message = copy_message(message)
    environment = _environment()
    texts: dict[str, Template] = {}
    fields: set[str] = set()
    for text in _strings(message):
        if "{" not in text or text in texts:
            continue
        try:
            fields |= meta.find_undeclared_variables(_parse(environment, text))
            texts[text] = environment.from_string(text)
        except (RecursionError, MemoryError, SyntaxError):
            raise TemplateError(TOO_NESTED) from None
    template = MessageTemplate(message=message, fields=frozenset(fields), _texts=texts)
    try:
        validate_message(template.sample() if texts else message)
    except RenderError as error:
        raise TemplateError(
            f"The message cannot be made even for an invented person ({error.reason}). Shorten or correct it."
        ) from None
    return template


class _Missing(StrictUndefined):
    """A field that is not there: it may be asked for by ``if``, but never printed."""

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=_Missing, autoescape=False, keep_trailing_newline=True)
    environment.filters = {name: function for name, function in environment.filters.items() if name in FILTERS}
    environment.globals.clear()
    return environment


def _parse(environment: ImmutableSandboxedEnvironment, text: str) -> nodes.Template:
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as error:
        wrong = str(error.message).rstrip(".")
        raise TemplateError(f"The template is broken at line {error.lineno}: {wrong}. Correct it.") from None
    except (ValueError, OverflowError):
        raise TemplateError("The template holds a number that is too long. Write it as text.") from None
    for count, node in enumerate(tree.find_all(nodes.Node)):
        if count > NODES_LIMIT:
            raise TemplateError(TOO_NESTED)
        _check(node)
    return tree


def _check(node: nodes.Node) -> None:
    line = node.lineno
    if not isinstance(node, _ALLOWED):
        kind = type(node).__name__
        raise TemplateError(
            f"Line {line} of the template uses {kind}, which is not allowed. Use fields, default and if."
        )
    if isinstance(node, nodes.Name) and node.name == "self":  # in Jinja the template itself, whatever the person has
        raise TemplateError(f"Line {line} uses the field 'self', which cannot be one. Choose another name.")
    if isinstance(node, nodes.Const) and isinstance(node.value, int | float) and not abs(node.value) <= _NUMBER_LIMIT:
        raise TemplateError(f"Line {line} of the template holds a number that is too large. Write it as text.")
    if isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        raise TemplateError(f"Line {line} of the template spreads arguments by a star. Write each out.")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateError(f"Line {line} uses the filter {node.name!r}. Allowed are: {', '.join(sorted(FILTERS))}.")
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        raise TemplateError(f"Line {line} uses the test {node.name!r}. Allowed are: {', '.join(sorted(_TESTS))}.")


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
