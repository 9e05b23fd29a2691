"""Whose yes counts."""

from __future__ import annotations

import pytest

from otn.campaign.approvers import Approvers, Person, composers, read_approvers
from otn.errors import ConfigurationError

ANN, BOB = Person("ann", "7"), Person("bob", "8")
BY_ANN = frozenset({"ann"})


@pytest.mark.parametrize(
    ("rule", "person", "counts"),
    [
        ({}, ANN, True),
        ({}, None, True),
        ({"another": True}, BOB, True),
        ({"another": True}, ANN, False),
        ({"another": True}, Person("ANN"), False),
        ({"another": True}, Person("somebody", "ann"), False),
        ({"another": True}, None, False),
        ({"names": frozenset({"bob"})}, BOB, True),
        ({"names": frozenset({"bob"})}, ANN, False),
        ({"names": frozenset({"bob"})}, Person("carl", "bob"), False),
        ({"names": frozenset({"bob"})}, None, False),
        ({"another": True, "names": BY_ANN}, ANN, False),
    ],
)
def test_whose_yes_counts(rule: dict[str, object], person: Person | None, counts: bool) -> None:
    approvers = Approvers(**rule)  # type: ignore[arg-type]
    assert (approvers.why_not(person, BY_ANN) is None) is counts


@pytest.mark.parametrize(
    ("created_by", "triggered_by", "names"),
    [
        ("ann (otn_broadcast manual__2027-03-01T09:00:00+00:00)", "bob", {"ann", "bob"}),
        ("ann (the boss) (otn_broadcast manual__1)", None, {"ann (the boss)"}),
        ("airflow (otn_campaign_spring scheduled__2027-03-01)", None, set()),
        ("airflow (otn_broadcast manual__1)", None, {"airflow"}),
        ("ann", None, {"ann"}),
        (None, None, set()),
    ],
)
def test_who_composed_it(created_by: str | None, triggered_by: str | None, names: set[str]) -> None:
    assert composers(created_by, triggered_by) == names


def test_the_settings_are_read() -> None:
    assert read_approvers({}) == Approvers()
    assert read_approvers({"OTN_APPROVAL": " Another ", "OTN_APPROVERS": "ann, bob,"}) == Approvers(
        another=True, names=frozenset({"ann", "bob"})
    )


@pytest.mark.parametrize("setting", [{"OTN_APPROVAL": "other"}, {"OTN_APPROVERS": " , "}])
def test_a_setting_that_says_nothing_lets_nobody_approve(setting: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=min(setting)):
        read_approvers(setting)
