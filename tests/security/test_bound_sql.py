"""No SQL is put together from texts: values are bound, names are quoted by the driver, and exceptions have a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otn.settings import ROOT

FOLDERS = ("plugins", "dags", "sandbox", "benchmarks")
CALLS = {
    "execute",
    "executemany",
    "execute_values",
    "execute_batch",
    "exec_driver_sql",
    "copy_expert",
    "mogrify",
    "text",
}

# Statements that are put together at the place of the call, each for a reason.
ALLOWED = {
    "benchmarks/console.py: CREATE DATABASE": "a constant of ours, in a server of ours",
    "benchmarks/receiver.py: CREATE DATABASE": "a constant of ours, in a server of ours",
    "plugins/otn/cli/examination/case.py: SET LOCAL": "a number of ours",
}


def composed(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that take SQL and are handed a text that was put together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _name(node.func) in CALLS and _put_together(node.args[0]):
            yield node


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _put_together(value: ast.expr) -> bool:
    if isinstance(value, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in value.values)
    if isinstance(value, ast.BinOp):
        return not (isinstance(value.op, ast.Add) and _is_text(value.left) and _is_text(value.right))
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        # psycopg2's own SQL.format quotes what it is given; that of a text does not.
        return value.func.attr in {"format", "join", "replace"} and _is_text(value.func.value)
    return False


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant | ast.JoinedStr)


def python_files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_every_statement_is_a_constant_or_has_a_reason() -> None:
    found = set()
    for path in python_files():
        for call in composed(ast.parse(path.read_text(encoding="utf-8"))):
            words = " ".join(re.findall("[A-Z]{3,}", ast.unparse(call.args[0]))[:2])
            found.add(f"{path.relative_to(ROOT)}: {words}")
    assert found - ALLOWED.keys() == set()


@pytest.mark.parametrize(
    "line",
    [
        'cursor.execute(f"SELECT {name}")',
        'cursor.execute("SELECT %s" % name)',
        'cursor.execute("SELECT " + name)',
        'cursor.execute("SELECT {}".format(name))',
        'cursor.execute(", ".join(names))',
        'connection.execute(text(f"SELECT {name}"))',
        'cursor.copy_expert(f"COPY {name} FROM STDIN", file)',
    ],
)
def test_a_statement_that_is_put_together_is_found(line: str) -> None:
    assert len(list(composed(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        'cursor.execute("SELECT %s", [name])',
        'cursor.execute("SELECT 1" " WHERE true")',
        'cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))',
        "cursor.execute(statement, {})",
    ],
)
def test_a_bound_statement_is_none(line: str) -> None:
    assert list(composed(ast.parse(line))) == []


def test_no_query_runs_a_text_as_sql() -> None:
    """In plpgsql EXECUTE would, and format() quotes nothing by %s; only migrations make names, by %I and %L."""
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        code = re.sub("--.*", "", path.read_text(encoding="utf-8"))
        if path.parent.name == "queries":
            assert not re.search(r"\bEXECUTE\b", code, re.IGNORECASE), path.name
        assert not re.search(r"EXECUTE\s+(FUNCTION\s+)?[^;]*\|\|", code, re.IGNORECASE), path.name
