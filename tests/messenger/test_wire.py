from __future__ import annotations

import json
from urllib.parse import parse_qsl, quote_plus, urlencode

from hypothesis import example, given
from hypothesis import strategies as st

from otn.messenger import wire

TEXTS = st.text() | st.text(st.characters(max_codepoint=127))


@given(TEXTS)
@example("".join(map(chr, range(128))))
@example("50 % off & more + \N{WAVING HAND SIGN} = now")
def test_a_text_is_quoted_as_the_standard_library_quotes_it(text: str) -> None:
    assert wire.quoted(text) == quote_plus(text)


@given(st.dictionaries(TEXTS, TEXTS))
def test_a_form_within_a_form_is_read_as_it_was_written(fields: dict[str, str]) -> None:
    written = wire.form(fields)
    assert written == urlencode(fields)
    assert wire.quoted_form(written) == quote_plus(written)
    assert dict(parse_qsl(written, keep_blank_values=True, strict_parsing=bool(fields))) == fields
    assert json.loads(wire.encode({"body": written})) == {"body": written}
    assert wire.encode(written) == f'"{written}"'
