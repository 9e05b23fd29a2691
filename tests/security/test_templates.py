"""Known ways out of Jinja, and ways to keep it busy: each is refused, or shown as the text that it is."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import pytest

from otn.messenger.messages import MessageError
from otn.rendering import RenderError, TemplateError, compile_message
from otn.settings import ROOT

PERSON = {"first_name": "Ada", "city": "Rome"}
SECRETS = (
    "built-in",
    "os.environ",
    "uid=",
    "<class",
    "<module",
    "<function",
    "root:",
    "TemplateReference",
    "Undefined",
)
CPU_S = 2.0  # of all of them together; one that runs away takes minutes
MEMORY_BYTES = 3 << 30

ESCAPES = {
    # to the interpreter
    "class": "{{ ''.__class__ }}",
    "mro": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "base": "{{ ().__class__.__base__.__subclasses__()[132].__init__.__globals__ }}",
    "item for attribute": "{{ ''['__class__'] }}",
    "escaped item": r"{{ ''['\x5f\x5fclass\x5f\x5f'] }}",
    "attr": "{{ '' | attr('__class__') }}",
    "attr, joined": "{{ '' | attr(['__cl', 'ass__'] | join) }}",
    "attr, escaped": r"{{ '' | attr('\x5f\x5fclass\x5f\x5f') }}",
    "map attribute": "{{ [''] | map(attribute='__class__') | list }}",
    "groupby": "{{ [''] | groupby('__class__') }}",
    "sort": "{{ ['', ''] | sort(attribute='__class__') }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "joiner": "{{ joiner.__init__.__globals__.os.popen('id').read() }}",
    "namespace": "{{ namespace.__init__.__globals__.os.popen('id').read() }}",
    "dict": "{{ dict.__base__.__subclasses__() }}",
    "range": "{{ range.__class__ }}",
    "self": "{{ self }}",
    "self, inside": "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "self, in a condition": "{% if self %}{{ self }}{% endif %}",
    "self, by a filter": "{{ self | upper }}",
    "config": "{{ config.__class__.__init__.__globals__['os'].environ }}",
    "request": "{{ request.application.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "url_for": "{{ url_for.__globals__ }}",
    "get_flashed_messages": "{{ get_flashed_messages.__globals__ }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(first_name) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': first_name}) }}",
    "percent": "{{ '%s' % first_name.__class__ }}",
    "format filter": "{{ '%s' | format(first_name.__class__) }}",
    "method": "{{ first_name.join(['a', 'b']) }}",
    "caller": "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}",
    "undefined": "{{ nothing.__class__.__init__.__globals__ }}",
    "test with attribute": "{{ first_name is sameas(first_name.__class__) }}",
    "default by attribute": "{{ nothing | default(first_name.__class__) }}",
    "star": "{{ first_name | default(*city) }}",
    "two stars": "{{ first_name | default(**city) }}",
    "wide letters": "{{ ''.__\uff43lass__ }}",
    "wide field": "{{ \uff53elf }}",
    "no break space": "{{\u00a0''.__class__\u00a0}}",
    "debug": "{% debug %}",
    "do": "{% do first_name.x() %}",
    "line statement": "# for x in y\n{{ ''.__class__ }}",
    # to other files
    "include": "{% include '/etc/passwd' %}",
    "include, if it is there": "{% include '/etc/passwd' ignore missing %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "from import": "{% from 'os' import popen %}",
    "extends": "{% extends '/etc/passwd' %}",
    "extends, by name": "{% extends first_name %}",
    # to Airflow's secrets
    "conn": "{{ conn.otn_db.password }}",
    "var": "{{ var.value.secret }}",
    "var json": "{{ var.json.get('x') }}",
    "macros": "{{ macros.os.environ }}",
    "ti": "{{ ti.xcom_pull(task_ids='x') }}",
    "dag_run": "{{ dag_run.conf }}",
}
BOMBS = {
    "range": "{% for a in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for a in x %}{% for b in x %}{% for c in x %}x{% endfor %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in x recursive %}{{ loop(x) }}{% endfor %}",
    "recursive macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "times": "{{ 'a' * 10**9 }}",
    "power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "power, in a condition": "{% if 2 ** 100000000 > 1 %}x{% endif %}",
    "shift by concatenation": "{{ first_name ~ first_name }}",
    "center": "{{ 'a' | center(10**9) }}",
    "center, plain": "{{ 'a' | center(1000000000) }}",
    "indent": "{{ 'a\n' | indent(1000000000) }}",
    "wordwrap": "{{ first_name | wordwrap(1) }}",
    "pprint": "{{ first_name | pprint }}",
    "lipsum": "{{ lipsum(100000) }}",
    "batch": "{{ first_name | batch(100000000, 'x') | list }}",
    "slice": "{{ first_name | slice(100000000) | list }}",
    "urlize": "{{ first_name | urlize }}",
    "replace": "{{ first_name | replace('', 'xxxxxxxx') }}",
    "set, doubled": "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "endless digits": "{{ " + "9" * 6_000 + " }}",
    "endless hexadecimal digits": "{{ 0x" + "f" * 9_000 + " }}",
    "infinity": "{{ 1e999 }}",
    "infinity, compared": "{{ 'a' if first_name == 1e999 else 'b' }}",
    "brackets": "{{ " + "(" * 5_000 + "a" + ")" * 5_000 + " }}",
    "not": "{% if " + "not " * 9_000 + "a %}x{% endif %}",
    "and": "{{ " + " and ".join(["a"] * 9_000) + " }}",
    "compared": "{{ a" + " < a" * 9_000 + " }}",
    "filters": "{{ a" + " | upper" * 5_000 + " }}",
    "conditions": "{% if a %}" * 3_000 + "x" + "{% endif %}" * 3_000,
    "elif": "{% if a %}x" + "{% elif a %}x" * 3_000 + "{% endif %}",
    "opened": "{{" * 30_000,
    "comments opened": "{#" * 30_000,
    "raw opened": "{% raw %}" + "{{" * 25_000,
    "quotes": "{{ " + "'" * 60_000,
    "backslashes": "{{ '" + "\\" * 60_000,
    "too long": "{{ a }}" * 20_000,
}


def tried(text: str) -> str:
    """What becomes of a template: a refusal in our words, or what the person would read."""
    try:
        return str(compile_message({"text": text}).render(PERSON)["text"])
    except (TemplateError, RenderError, MessageError):
        return ""


@pytest.mark.parametrize("name", ESCAPES)
def test_no_known_way_leads_out(name: str) -> None:
    said = tried(ESCAPES[name])
    assert not [word for word in SECRETS if word in said], said
    assert said == "", "all of them are refused"


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_is_a_template_is_a_name(name: str) -> None:
    """What a person calls himself is never read."""
    text = ESCAPES[name][:500]
    assert compile_message({"text": "Hi {{ first_name }}"}).render({"first_name": text}) == {"text": f"Hi {text}"}


def test_bombs_are_refused_at_once_and_in_little_memory() -> None:
    """In a process of its own, which could not take more memory, or more time, if it tried."""
    script = "import tests.security.test_templates as t; print(t.burn())"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
        preexec_fn=_bound,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    seconds, worst, let_through = ended.stdout.strip().rsplit("|", 2)
    print(f"{len(ESCAPES)} escapes, {len(BOMBS)} bombs: {seconds} s of CPU together, {worst} s the longest")
    assert let_through == "[]"
    assert float(seconds) < CPU_S * 5


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def burn() -> str:
    """Try every bomb; tell CPU seconds of all, of the longest, and the names of those that were not refused."""
    longest, began, passed = 0.0, time.process_time(), []
    for name, text in BOMBS.items():
        start = time.process_time()
        if tried(text):
            passed.append(name)
        longest = max(longest, time.process_time() - start)
    return f"{time.process_time() - began:.2f}|{longest:.2f}|{passed}"
