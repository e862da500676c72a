"""The suite finds nothing in our own KMS and user agent, and every break of one requirement."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.conformance.agent import AGENT_REQUIREMENTS
from sipmikey.conformance.agent_modes import MODE_REQUIREMENTS
from sipmikey.conformance.agent_resolve import ASKING_REQUIREMENTS
from sipmikey.conformance.agent_update import UPDATE_REQUIREMENTS
from sipmikey.conformance.broken import agent as broken_agent
from sipmikey.conformance.broken import kms as broken_kms
from sipmikey.conformance.broken import public_key as broken_public_key
from sipmikey.conformance.broken.kms import BrokenKms
from sipmikey.conformance.broken.questions import SIGNED_QUESTIONS
from sipmikey.conformance.kms import KMS_REQUIREMENTS
from sipmikey.conformance.kms_public_key import PUBLIC_KEY_REQUIREMENTS
from sipmikey.conformance.kms_resolve import RESOLVE_REQUIREMENTS
from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import LocalError
from tests.conformance.parties import agent_results, found, kms_results, resolving_kms

ALL = (
    *KMS_REQUIREMENTS.items,
    *RESOLVE_REQUIREMENTS.items,
    *PUBLIC_KEY_REQUIREMENTS.items,
    *AGENT_REQUIREMENTS.items,
    *ASKING_REQUIREMENTS.items,
    *MODE_REQUIREMENTS.items,
    *UPDATE_REQUIREMENTS.items,
)
SIGNED = {
    f"pk-refuses-{word}"
    for word in ("bad-signature", "altered-message", "identities-outside-signature", "others-key")
}
BY_CERTIFICATE = {
    f"resolve-init-pk-{word}" for word in ("signature", "envelope", "accepted", "refuses-other-key")
}
PAGE = (Path(__file__).parents[2] / "docs" / "rfc" / "conformance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("suite", [SUITE_256, SUITE_128], ids=lambda suite: suite.name)
def test_our_kms_meets_every_requirement(tmp_path: Path, suite: Suite) -> None:
    results = list(kms_results(tmp_path, suite=suite))
    assert [item for item in results if item.outcome != "met"] == []
    assert len(results) > 90


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> BrokenKms:
    """The KMS that user agents ask."""
    return resolving_kms(tmp_path_factory.mktemp("kms"))


def test_our_user_agent_meets_every_requirement(kms: BrokenKms) -> None:
    results = list(agent_results(kms))
    assert {item.name for item in results if item.outcome != "met"} == BY_CERTIFICATE
    assert len(results) > 120


def test_our_user_agent_with_a_certificate_meets_every_requirement(kms: BrokenKms) -> None:
    results = list(agent_results(kms, by_certificate=True))
    assert [item.name for item in results if item.outcome != "met"] == ["resolve-init-mac"]


def test_there_are_breaks_enough() -> None:
    assert len(broken_kms.BREAKS) >= 40
    assert len(broken_agent.BREAKS) >= 100


@pytest.mark.parametrize("broken", broken_kms.BREAKS)
def test_a_break_of_the_kms_is_found(tmp_path: Path, broken: str) -> None:
    result = found(kms_results(tmp_path, broken))
    assert result is not None
    assert result.detail


@pytest.mark.parametrize("broken", broken_agent.BREAKS)
def test_a_break_of_the_user_agent_is_found(kms: BrokenKms, broken: str) -> None:
    result = found(agent_results(kms, broken, by_certificate=broken in SIGNED_QUESTIONS))
    assert result is not None
    assert result.detail


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ("request-resp-v-flag", {"request-resp-v-flag"}),
        ("request-resp-no-idrkms", {"request-resp-idrkms"}),
        ("resolve-resp-other-mpki", {"resolve-resp-mpki"}),
        ("resolve-resp-other-spi", {"resolve-resp-key-spis"}),
        ("takes-replays", {"request-refuses-replay", "resolve-refuses-replay"}),
        ("takes-other-responders", {"resolve-refuses-others"}),
        ("error-csb-id", {"error-about-the-message"}),
        ("takes-bad-signatures", SIGNED | {"pk-resolve-refuses-bad-signature"}),
        ("takes-revoked-certificates", {"pk-refuses-revoked"}),
        ("tells-padding", {"pk-tells-no-padding"}),
        ("takes-messages-signed-again", {"pk-refuses-signed-again"}),
        ("refuses-pss", {"pk-pss", "pk-refuses-signed-again"}),
    ],
)
def test_a_break_is_called_by_its_name(tmp_path: Path, broken: str, names: set[str]) -> None:
    told = {item.name for item in kms_results(tmp_path, broken) if item.outcome != "met"}
    of_public_key = {name for name in told if name.startswith("pk-")}  # its answers have the same flaw
    assert (told if broken in broken_public_key.BREAKS else told - of_public_key) == names


def test_names_are_unique_and_every_section_is_in_the_table_of_conformance() -> None:
    names = [item.name for item in ALL]  # type: ignore[attr-defined]
    assert len(names) == len(set(names))
    sections = {item.section for item in ALL if not item.section.startswith("RFC ")}  # type: ignore[attr-defined]
    assert {section for section in sections if section not in PAGE} == set()


def test_a_break_that_is_unknown_is_refused(kms: BrokenKms, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no break"):
        kms_results(tmp_path, "no-such-break")
    with pytest.raises(LocalError, match="no break"):
        agent_results(kms, "no-such-break")
