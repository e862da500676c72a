"""Servers and credentials as they are written, and the path as pjsua prints it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.nat.path import Candidate, Way, paths_in_dump
from sipmikey.nat.probe import NO_ANSWER, NatKind, ServerState, _kind
from sipmikey.nat.servers import NatSettings, server_address, timed_credentials


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("turn.example.com", ("turn.example.com", 3478)),
        ("turn.example.com:3500", ("turn.example.com", 3500)),
        ("turn:turn.example.com:3500?transport=udp", ("turn.example.com", 3500)),
        ("[2001:db8::1]:3500", ("2001:db8::1", 3500)),
        ("192.0.2.1", ("192.0.2.1", 3478)),
    ],
)
def test_a_server_is_written_in_these_ways(text: str, address: tuple[str, int]) -> None:
    assert server_address(text, "nat.turn") == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("turn:turn.example.com?transport=tcp", "TCP"),
        ("turns:turn.example.com", "TLS"),
        ("turn.example.com:0", "HOST"),
        ("turn.example.com:x", "HOST"),
        ("user@turn.example.com", "HOST"),
        ("", "HOST"),
    ],
)
def test_what_cannot_work_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        server_address(text, "nat.turn")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(LocalError, match="keep one"):
        NatSettings(turn="t", turn_password=Secret(b"a"), turn_secret=Secret(b"b"))
    with pytest.raises(LocalError, match="ICE"):
        NatSettings(turn="t", ice=False)
    with pytest.raises(LocalError, match=r"set nat\.turn"):
        NatSettings(stun="s", turn_username="alice")


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
def test_ice_without_candidates_is_refused_in_words(bind: str) -> None:
    """pjsip has none on a loopback address, and its calls would end with PJ_EINVAL."""

    def config(bind: str, nat: NatSettings, **more: object) -> AgentConfig:
        return AgentConfig(identity="sip:alice@example.com", sip=Sip(bind=bind, **more), nat=nat)  # type: ignore[arg-type]

    with pytest.raises(LocalError, match=r"nat\.ice is on.*RFC 8445.*sip\.listen"):
        config(bind, NatSettings(ice=True))
    config("192.0.2.1", NatSettings(ice=True))
    config("", NatSettings(ice=True))
    config(bind, NatSettings(stun=bind))
    config(bind, NatSettings(ice=True), stack="python")


def test_ice_is_on_where_a_server_is_and_turn_serves_as_stun() -> None:
    assert not NatSettings().uses_ice
    assert NatSettings(ice=True).uses_ice
    with_turn = NatSettings(turn="turn.example.com")
    assert with_turn.uses_ice
    assert with_turn.stun_server == with_turn.turn_server


DEAD, WRONG = ServerState(works=False, detail=NO_ANSWER), ServerState(works=False, detail="refused with 401")
WORKS = ServerState(works=True, address=("192.0.2.9", 4000))


@pytest.mark.parametrize(
    ("state", "relay", "kind"),
    [
        (DEAD, None, NatKind.BLOCKED),
        (DEAD, DEAD, NatKind.BLOCKED),
        (DEAD, WORKS, NatKind.UNKNOWN),
        (DEAD, WRONG, NatKind.UNKNOWN),
        (ServerState(works=False, detail="stun.example.com: no address is known"), None, NatKind.UNKNOWN),
    ],
)
def test_udp_is_blocked_where_no_server_answers_and_not_where_one_is_wrong(
    state: ServerState, relay: ServerState | None, kind: NatKind
) -> None:
    settings = NatSettings(stun="192.0.2.1", turn="" if relay is None else "192.0.2.2")
    assert _kind(settings, state, relay, None, []) is kind


def test_timed_credentials_are_those_of_the_turn_rest_scheme() -> None:
    name, password = timed_credentials(Secret(b"north"), "alice", now_s=1_795_790_000.7, lifetime_s=3600)
    assert name == "1795793600:alice"
    digest = hmac.new(b"north", b"1795793600:alice", hashlib.sha1).digest()
    assert password.reveal() == base64.b64encode(digest)


def test_a_password_file_is_read_again_each_time(tmp_path: Path) -> None:
    file = tmp_path / "turn"
    file.write_text("1795793600:alice:cGFzcw==\n")
    settings = NatSettings(turn="t", turn_password_file=file)
    name, password = settings.credentials(0)
    assert (name, password.reveal()) == ("1795793600:alice", b"cGFzcw==")
    file.write_text("1795797200:alice:bmV3\n")
    assert settings.credentials(0)[0] == "1795797200:alice"
    file.write_text("only\n")
    with pytest.raises(LocalError, match="turn_username"):
        settings.credentials(0)
    named = NatSettings(turn="t", turn_username="bob", turn_password_file=file)
    assert named.credentials(0)[1].reveal() == b"only"
    file.unlink()
    with pytest.raises(LocalError, match="No such file"):
        settings.credentials(0)


DUMP = """\
     #0 ICE role: Controlling, state: Negotiation Success, comp_cnt: 2
     [0]: L:10.77.0.2:60134 (p) --> R:10.77.0.1:49247 (r)
     [1]: L:10.77.0.2:60135 (p) --> R:10.77.0.1:49248 (r)
"""


def test_the_path_is_read_from_the_dump_of_a_call() -> None:
    (path,) = paths_in_dump(DUMP)
    assert path.local == ("10.77.0.2", 60134)
    assert (path.local_kind, path.remote_kind) == (Candidate.PEER_REFLEXIVE, Candidate.RELAYED)
    assert path.way is Way.RELAYED
    assert paths_in_dump("no ICE here") == ()
