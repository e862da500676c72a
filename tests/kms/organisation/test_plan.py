"""What a synchronisation would change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipmikey.kms.provisioning.people import DirectoryUser, Found, Pattern, identities_of, slug
from sipmikey.kms.provisioning.plan import check_leavers, plan_of
from sipmikey.kms.stores.provisioned_users import ProvisionedUser
from sipmikey.mikey.errors import LocalError


def here(name: str, **more: bool) -> ProvisionedUser:
    uri = f"sip:{name}@example.com"
    return replace(ProvisionedUser(source="ldap", key=name, subscriber=uri, identities=(uri,)), **more)  # type: ignore[arg-type]


def there(name: str) -> DirectoryUser:
    return DirectoryUser(key=name, shown=name, identities=(f"sip:{name}@example.com",))


@pytest.mark.parametrize(
    ("present", "changes"),
    [
        (here("a"), []),
        (here("a", closed=True, enabled=False), ["return"]),
        (here("a", enabled=False), []),  # disabled by an administrator: that stays
        (here("b"), ["add", "leave"]),
        (here("b", closed=True, enabled=False), ["add"]),
        (here("b", closed=True), ["add", "leave"]),  # enabled by an administrator, and still gone
    ],
)
def test_users_come_return_and_leave(present: ProvisionedUser, changes: list[str]) -> None:
    plan = plan_of(Found(users=[there("a")]), [present], [])
    assert [change.what.value for change in plan.changes] == changes


def test_an_entry_with_a_problem_has_not_left() -> None:
    found = Found(users=[], problems=[("a", "x")], unusable={"a"})
    assert plan_of(found, [here("a")], []).changes == []


def test_two_people_with_one_identity_are_a_problem_of_the_second() -> None:
    twin = replace(there("b"), identities=there("a").identities)
    plan = plan_of(Found(users=[there("a"), twin]), [here("b")], [])
    assert [change.what.value for change in plan.changes] == ["add"]
    assert plan.problems == [("b", "sip:a@example.com is a's too")]


@pytest.mark.parametrize(
    ("users", "leaving", "fine"),
    [(1, 1, True), (2, 2, False), (20, 5, True), (20, 6, False), (100, 20, True)],
)
def test_many_do_not_leave_at_once(users: int, leaving: int, fine: bool) -> None:
    everybody = [here(f"u{number}") for number in range(users)]
    plan = plan_of(Found(users=[there(f"u{number}") for number in range(leaving, users)]), everybody, [])
    if fine:
        check_leavers(plan, everybody, percent=20)
    else:
        with pytest.raises(LocalError, match="would leave"):
            check_leavers(plan, everybody, percent=20)


def test_identities_are_made_of_attributes() -> None:
    patterns = [Pattern("sip:{mail}", "x"), Pattern("tel:{telephoneNumber}", "x")]
    attributes = {
        "mail": ["Alice@EXAMPLE.com", "other@example.com"],
        "telephonenumber": ["+46 (70) 12-3", "+461"],
    }
    assert identities_of(patterns, attributes) == ("sip:Alice@example.com", "tel:+4670123", "tel:+461")
    with pytest.raises(LocalError, match="mail is missing"):
        identities_of(patterns, {})
    assert slug("Field Sales (Åland)") == "field-sales-aland"


@pytest.mark.parametrize(
    "text", ["", "sip:x@y", "sip:{a}{b}@y", "sip:{a}@*", "{a", "mailto:{a}", "sip:{}@y", "tel:{a}x y"]
)
def test_a_pattern_that_makes_no_identity_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        Pattern(text, "ldap.identities")
