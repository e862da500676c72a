"""A refusal of the KMS names the setting and the next step, and a wrong clock whose it is and by how much."""

from __future__ import annotations

import asyncio
import email.utils
import time
from pathlib import Path

import pytest

from sipmikey.kms.client import HttpKmsClient, KmsBadAnswer, KmsRefused, KmsUnreachable
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.client.refusals import next_step
from sipmikey.mikey.errors import LocalError
from tests.cli.commands import Start
from tests.regress.kms.strange_kms import StrangeKms
from tests.sdp.parties import ALICE, BOB

REQUEST = b"\x01\x0b" + bytes(20)


async def ask(url: str) -> bytes:
    async with HttpKmsClient(url) as client:
        return await client.request(REQUEST)


@pytest.mark.parametrize(
    ("status", "word", "said"),
    [
        (403, "auth-failure", ["kms.psk_file", "kms.psk_id", "rotated", "administrator"]),
        (401, "unknown-key", ["kms.psk_id", "identity.uri", "disabled"]),
        (403, "identity-not-owned", ["identity.uri"]),
        (404, "invalid-identity", ["kms.identity", "kms.url"]),
        (403, "not-authorized", ["policy", "administrator"]),
    ],
)
def test_each_refusal_says_what_to_do(status: int, word: str, said: list[str]) -> None:
    with StrangeKms(lambda _: (status, {"KMS-Reason": word})) as kms, pytest.raises(KmsRefused) as caught:
        asyncio.run(ask(kms.url))
    assert all(text in str(caught.value) for text in [*said, word])


@pytest.mark.parametrize(("shift_s", "way"), [(600, "behind"), (-600, "ahead of"), (31_536_000, "behind")])
def test_a_wrong_clock_is_named_with_its_error(shift_s: int, way: str) -> None:
    date = email.utils.formatdate(time.time() + shift_s, usegmt=True)
    answer = (400, {"KMS-Reason": "invalid-timestamp", "Date": date})
    said = rf"the clock of this machine is about \d+ s {way} that of the KMS"
    with StrangeKms(lambda _: answer) as kms, pytest.raises(KmsRefused, match=said) as caught:
        asyncio.run(ask(kms.url))
    told = int(str(caught.value).partition("about ")[2].split()[0])
    assert abs(told - abs(shift_s)) < 30


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_without_a_date_both_clocks_are_doubted(date: str | None) -> None:
    assert "NTP" in next_step("invalid-timestamp", date=date, now_s=0.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_says_where_to(status: int) -> None:
    answer = (status, {"Location": "https://kms.example.net/new"})
    said = r"https://kms\.example\.net/new.*kms\.url"
    with StrangeKms(lambda _: answer) as kms, pytest.raises(KmsBadAnswer, match=said):
        asyncio.run(ask(kms.url))


@pytest.mark.parametrize("port", ["0", "65536", "99999", "abc", "-1", " 80"])
def test_a_url_whose_port_cannot_be_is_a_mistake(port: str) -> None:
    with pytest.raises(LocalError, match="not a KMS URL"):
        KmsUrl.parse(f"http://127.0.0.1:{port}")


def test_a_proxy_of_the_environment_that_is_not_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with StrangeKms() as kms:
        url = kms.url
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    with pytest.raises(KmsUnreachable, match=r"http_proxy is not used") as caught:
        asyncio.run(ask(url))
    assert "ssl:default" not in str(caught.value)


def test_a_connection_that_breaks_after_the_message_was_taken(command: Start, tmp_path: Path) -> None:
    """The KMS took the first message: a second one is made, which is not a replay."""
    kms = StrangeKms()
    seen: set[bytes] = set()

    def break_once(message: bytes) -> bytes | tuple[int, dict[str, str]] | None:
        if message in seen:
            return 403, {"KMS-Reason": "replayed-message"}
        seen.add(message)
        return None if len(seen) == 1 else kms.kms.request(message)

    kms.answer = break_once
    with kms:
        alice = command(
            "call", BOB, "--via", "sip:127.0.0.1:9", "--ring-timeout", "3", *kms.options(ALICE, tmp_path)
        )
        assert alice.finish() != 4, alice.seen
    assert len(kms.asked) == 2
    assert any(event["type"] == "kms.response" for event in alice.seen)
