from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

import otn
from otn.errors import ConfigurationError, OtnError, UsageError

# These pass between two functions of one part and never leave it.
SIGNALS = {"Unreadable", "UnansweredError", "BodyRefusedError", "LineRefusedError", "AnotherRunError"}

# Importing these starts or needs another system.
NOT_IMPORTED = ("otn.__main__", "otn.database.migrations", "otn.orchestration", "otn.console", "otn.airflow_plugin")


def own_errors() -> list[type[Exception]]:
    """Every exception class that the package defines."""
    found: dict[str, type[Exception]] = {}
    for module in pkgutil.walk_packages(otn.__path__, "otn."):
        if module.name.startswith(NOT_IMPORTED):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.name:
                found[f"{module.name}.{name}"] = value
    return list(found.values())


def test_the_docstring_is_the_message_by_default() -> None:
    assert str(OtnError()) == "Something went wrong. Look at the message above it."
    assert str(ConfigurationError()).startswith("A setting is missing or wrong.")
    assert str(UsageError("Other words.")) == "Other words."


def test_a_subclass_without_docstring_still_says_something() -> None:
    class SilentError(OtnError):
        pass

    assert str(SilentError())


@pytest.mark.parametrize("error", own_errors(), ids=lambda error: error.__qualname__)
def test_every_error_of_the_package_can_be_caught_as_one_and_says_what_it_is(error: type[Exception]) -> None:
    assert issubclass(error, OtnError) or error.__name__ in SIGNALS or error.__name__.startswith("_")
    first = " ".join((error.__doc__ or "").strip().split("\n\n")[0].split())
    assert re.match(r"[A-Z].+[.!]$", first), "one sentence on what is wrong"
