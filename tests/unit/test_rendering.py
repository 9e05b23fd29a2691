from __future__ import annotations

import copy
from typing import Any

import pytest

from otn.messenger.messages import TEXT_LIMIT, MessageError
from otn.rendering import FILTERS, RenderError, TemplateError, compile_message


def rendered(text: str, **variables: Any) -> str:
    return str(compile_message({"text": text}).render(variables)["text"])


GREETING = 'Hi {{ first_name | default("there") }}'
CARD = {
    "attachment": {
        "type": "template",
        "payload": {
            "template_type": "generic",
            "elements": [
                {
                    "title": 'For {{ first_name | default("you") }}',
                    "subtitle": "From {{ city }}",
                    "buttons": [{"type": "web_url", "title": "Look", "url": "https://shop.example/?p={{ number }}"}],
                }
            ],
        },
    }
}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"first_name": "Ada"}, "Hi Ada"),
        ({"first_name": None}, "Hi there"),
        ({"first_name": ""}, "Hi there"),
        ({}, "Hi there"),
        ({"last_name": "Byron"}, "Hi there"),
        ({"first_name": "Ada", "unknown": "x"}, "Hi Ada"),
        ({"first_name": "李 小龙 🎉"}, "Hi 李 小龙 🎉"),
        ({"first_name": 7}, "Hi 7"),
        ({"first_name": False}, "Hi False"),
        ({"first_name": 0}, "Hi 0"),
    ],
)
def test_a_field_is_filled_in_or_falls_back(variables: dict[str, Any], text: str) -> None:
    assert rendered(GREETING, **variables) == text


@pytest.mark.parametrize(
    "name",
    [
        "{{ 7 * 7 }}",
        "{{ first_name }}",
        "{% for x in y %}",
        "{# gone #}",
        "{{ ''.__class__.__mro__ }}",
        "%(name)s {0} $name \\n",
        "<b>&amp;</b>",
        '"}, {"text": "injected',
        "{{",
    ],
)
def test_a_hostile_name_is_shown_as_it_is_and_never_evaluated(name: str) -> None:
    assert rendered(GREETING, first_name=name) == f"Hi {name}"


def test_a_name_of_any_length_is_cut_to_a_name() -> None:
    assert rendered(GREETING, first_name="x" * 100_000) == "Hi " + "x" * 500


def test_a_missing_field_without_fall_back_is_told_with_a_stable_reason() -> None:
    template = compile_message({"text": "Hi {{ first_name }}"})
    for variables in ({}, {"first_name": None}, {"first_name": ""}):
        with pytest.raises(RenderError, match="skipped") as refusal:
            template.render(variables)
        assert refusal.value.reason == "personal_field_missing"


def test_a_field_that_cannot_be_compared_is_told_with_a_stable_reason() -> None:
    template = compile_message({"text": "{% if points is defined and points > 'a' %}a{% else %}b{% endif %}"})
    with pytest.raises(RenderError) as refusal:
        template.render({"points": 5})
    assert refusal.value.reason == "personal_field_unusable"


def test_a_message_that_becomes_too_long_is_told_with_a_stable_reason() -> None:
    template = compile_message({"text": "x" * (TEXT_LIMIT - 10) + "{{ first_name }}"})
    assert len(template.render({"first_name": "y" * 10})["text"]) == TEXT_LIMIT
    with pytest.raises(RenderError) as refusal:
        template.render({"first_name": "y" * 11})
    assert refusal.value.reason == "message_over_limit"


def test_length_is_counted_as_messenger_counts_it() -> None:
    template = compile_message({"text": "x" * (TEXT_LIMIT - 10) + "{{ first_name }}"})
    with pytest.raises(RenderError):
        template.render({"first_name": "🎉" * 6})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Hi {{ first_name", "broken at line 1"),
        ("Hi\n\n{% if x %}", "broken at line 3"),
        ("Hi {{ first_name | }}", "broken at line 1"),
        ("{% endif %}", "broken"),
        ("{{ }}", "broken"),
        ("{% unknown %}", "broken"),
        ("{% for n in names %}{{ n }}{% endfor %}", "uses For"),
        ("{{ range(10) }}", "uses Call"),
        ("{{ first_name.upper() }}", "uses Call"),
        ("{{ first_name.__class__ }}", "uses Getattr"),
        ("{{ first_name['x'] }}", "uses Getitem"),
        ("{{ first_name[0:3] }}", "uses Getitem"),
        ("{% set x = 1 %}{{ x }}", "uses Assign"),
        ("{% macro m() %}{% endmacro %}", "uses Macro"),
        ("{% include 'secrets' %}", "uses Include"),
        ("{% import 'secrets' as s %}", "uses Import"),
        ("{% extends 'secrets' %}", "uses Extends"),
        ("{% block b %}{% endblock %}", "uses Block"),
        ("{% filter upper %}x{% endfilter %}", "uses FilterBlock"),
        ("{% with a = 1 %}{{ a }}{% endwith %}", "uses With"),
        ("{{ 9 ** 9 ** 9 }}", "uses Pow"),
        ("{{ 'x' * 1000000000 }}", "uses Mul"),
        ("{{ 1 + 1 }}", "uses Add"),
        ("{{ first_name ~ last_name }}", "uses Concat"),
        ("{{ [1, 2] }}", "uses List"),
        ("{{ {'a': 1} }}", "uses Dict"),
        ("{{ (1, 2) }}", "uses Tuple"),
        ("{{ 'a' if first_name is sameas(last_name) else 'b' }}", "the test 'sameas'"),
        ("{{ first_name | safe }}", "the filter 'safe'"),
        ("{{ first_name | attr('__class__') }}", "the filter 'attr'"),
        ("{{ first_name | format(1) }}", "the filter 'format'"),
        ("{{ first_name | center(100000000) }}", "the filter 'center'"),
        ("{{ first_name | no_such_filter }}", "the filter 'no_such_filter'"),
        ("{{ first_name is no_such_test }}", "the test 'no_such_test'"),
        ("{{ first_name | default(last_name.x) }}", "uses Getattr"),
        ("{% if true %}{% if x.y %}{% endif %}{% endif %}", "uses Getattr"),
        ("{{ first_name | replace('a', 'b') }}", "filter 'replace'"),
    ],
)
def test_what_is_broken_or_not_allowed_is_refused_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(TemplateError, match=sentence) as refusal:
        compile_message({"text": text})
    assert str(refusal.value).count(".") >= 2  # what is wrong, and what to do


@pytest.mark.parametrize(
    "text",
    [
        "{{ first_name | default('x') | upper }}",
        "{{ first_name | d('x') | lower | title | capitalize | trim }}",
        "{% if first_name is defined %}Hi {{ first_name }}{% else %}Hi{% endif %}",
        "{% if not (city is defined and city == 'Rome') or city != 'Oslo' %}a{% elif city is none %}b{% endif %}c",
        "{{ 'a' if first_name is defined else 'b' }}",
    ],
)
def test_what_a_sentence_needs_is_allowed(text: str) -> None:
    assert rendered(text, first_name="Ada", city="Rome")


def test_the_allowed_filters_exist() -> None:
    for name in FILTERS:
        assert rendered(f"{{{{ first_name | {name} }}}}", first_name="ada")


@pytest.mark.parametrize("text", ["a { b } c", "{", "}}", "{ {first_name} }", '{"json": true}', "50 % :-{", "plain"])
def test_a_brace_in_a_plain_text_is_a_brace(text: str) -> None:
    template = compile_message({"text": text})
    assert template.fields == frozenset()
    assert template.render({"first_name": "Ada"}) == {"text": text}


def test_line_ends_stay_as_they_are() -> None:
    assert rendered("Hi {{ first_name }}\n\nBye\n", first_name="Ada") == "Hi Ada\n\nBye\n"


def test_every_text_of_a_message_object_is_filled_in_and_nothing_else() -> None:
    before = copy.deepcopy(CARD)
    template = compile_message(CARD)
    assert template.fields == {"first_name", "city", "number"}
    message = template.render({"first_name": "Ada", "city": "Rome", "number": 42})
    element = message["attachment"]["payload"]["elements"][0]
    assert element["title"] == "For Ada"
    assert element["subtitle"] == "From Rome"
    assert element["buttons"][0] == {"type": "web_url", "title": "Look", "url": "https://shop.example/?p=42"}
    assert before == CARD
    assert template.render({"city": "Oslo", "number": 1})["attachment"]["payload"]["elements"][0]["title"] == "For you"


def test_one_person_leaves_nothing_for_the_next() -> None:
    template = compile_message({"text": GREETING})
    first = template.render({"first_name": "Ada"})
    first["text"] = "changed"
    assert template.render({})["text"] == "Hi there"


@pytest.mark.parametrize(
    "message",
    [{}, {"text": ""}, {"text": 5}, {"txt": "hi"}, {"text": "x" * 2000}, {"text": "hi", "metadata": "mine"}],
)
def test_what_is_no_message_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        compile_message(message)


def test_a_text_that_is_too_long_for_anybody_is_refused_at_once() -> None:
    with pytest.raises(TemplateError, match="even for an invented person"):
        compile_message({"text": "x" * TEXT_LIMIT + "{{ first_name }}"})


def test_the_sample_is_of_an_invented_person() -> None:
    sample = compile_message({"text": "{{ first_name }} {{ last_name }} {{ locale }} {{ loyalty_points }}"}).sample()
    assert sample == {"text": "Alex Example en_US loyalty_points"}


def test_one_field_in_many_texts_is_read_once() -> None:
    replies = [{"content_type": "text", "title": "For {{ first_name }}", "payload": f"reply {n}"} for n in range(13)]
    template = compile_message({"text": "Hi {{ first_name }}", "quick_replies": replies})
    assert len(template._texts) == 2
    titles = [reply["title"] for reply in template.render({"first_name": "Ada"})["quick_replies"]]
    assert titles == ["For Ada"] * 13
