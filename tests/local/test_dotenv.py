from __future__ import annotations

from pathlib import Path

import pytest

from otn.errors import ConfigurationError
from otn.local.dotenv import read_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A = b  ", "b"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b # said", "b"),
        ("A=b#c", "b#c"),
        ("A=b=c==", "b=c=="),
        ("A='b # c'", "b # c"),
        ("A='b' # said", "b"),
        (r"A='b\n'", r"b\n"),
        ('A="b # c"', "b # c"),
        (r'A="say \"x\"\n\\"', 'say "x"\n\\'),
        (r'A="$HOME \d"', r"$HOME \d"),
        ('A={"k": "v # w", "n": {"s": "\'"}}', '{"k": "v # w", "n": {"s": "\'"}}'),
        ('A=\'{"k": "v"}\'', '{"k": "v"}'),
        ("A=$(touch x)", "$(touch x)"),
        ("A=ü", "ü"),
    ],
)
def test_values(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# first\n\n{line}\nZ=last\n", encoding="utf-8")
    assert read_dotenv(file) == {"A": value, "Z": "last"}


@pytest.mark.parametrize("line", ["TOPSECRET", "=TOPSECRET", "A B=TOPSECRET", "A='TOPSECRET", 'A="TOPSECRET" x'])
def test_a_wrong_line_is_named_by_number_and_its_text_never_shown(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"OK=1\n{line}\n")
    with pytest.raises(ConfigurationError, match="Line 2") as caught:
        read_dotenv(file)
    assert "TOPSECRET" not in str(caught.value)


def test_files_of_other_tools(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert read_dotenv(file) == {}
    file.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\nA=3\r\n")
    assert read_dotenv(file) == {"A": "3", "B": "2"}
    file.write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_dotenv(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_dotenv(file)
