"""The bridge of `examples/stacks`: an SDES phone behind Kamailio and rtpengine calls a MIKEY-TICKET phone."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipmikey.ports import free_port
from sipmikey.sip import SipMessage
from sipmikey.testing import Stage, TestAgent, TestKms
from sipmikey.testing.kamailio import Kamailio
from tests.interop.lab.baresip import baresip
from tests.interop.lab.rtpengine import Rtpengine
from tests.stacks.phones import Phone, ask

BRIDGE = "sip:bridge@example.com"

CONFIGURATION = """\
#!KAMAILIO
listen=udp:127.0.0.1:{port}
children=1
log_stderror=yes
debug=1
auto_aliases=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:{control}")

request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "Ready"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ if (is_method("BYE")) rtpengine_delete(); loose_route(); t_relay(); exit; }}
    record_route();
    rtpengine_manage("replace-origin replace-session-connection ICE=remove DTLS=off");
    $du = "sip:127.0.0.1:{bridge}";
    t_on_reply("MEDIA");
    t_relay();
}}

onreply_route[MEDIA] {{
    if (has_body("application/sdp"))
        rtpengine_manage("replace-origin replace-session-connection ICE=remove DTLS=off");
}}
"""


class BeforeTheBridge(Kamailio):
    """Sends every call to the bridge, and its media through rtpengine."""

    def __init__(self, folder: Path, *, bridge: int, control: int) -> None:
        super().__init__(folder)
        self._fields = {"bridge": bridge, "control": control}

    def configuration(self) -> str:
        return CONFIGURATION.format(port=self.port, **self._fields)


@contextmanager
def bridge(stage: Stage, folder: Path, callee: TestAgent) -> Iterator[Phone]:
    """Run the bridge, which puts calls through to the address of *callee*."""
    via = f"sip:{callee.contact.partition('@')[2]}"
    with Phone("bridge", stage.kms, folder, "bridge", "--via", via) as made:
        yield made


def beginning(voice: Path, file: Path, seconds: int) -> Path:
    """Write the first seconds of a voice to *file*, and return that."""
    with wave.open(str(voice), "rb") as whole, wave.open(str(file), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(seconds * whole.getframerate()))
    return file


@pytest.fixture
def bob(call_stage: Stage, voices: dict[str, Path], tmp_path: Path) -> TestAgent:
    """Speaks for three seconds: baresip, which hangs up at the end of its file, speaks for six."""
    speech = beginning(voices["bob"], tmp_path / "bob-says.wav", 3)
    return call_stage.agent("bob", proxy=None).play(speech).start()


@pytest.mark.interop
def test_an_sdes_phone_behind_kamailio_and_rtpengine_talks_to_a_mikey_ticket_phone(
    call_stage: Stage, bob: TestAgent, voices: dict[str, Path], tmp_path: Path
) -> None:
    relay = free_port("127.0.0.1")
    with (
        bridge(call_stage, tmp_path, bob) as between,
        Rtpengine(control_port=relay) as engine,
        BeforeTheBridge(tmp_path / "kamailio", bridge=between.port, control=engine.control_port) as proxy,
    ):
        port = free_port("127.0.0.1")
        dial = f"/dial sip:bob@127.0.0.1:{proxy.port}"
        phone = baresip(tmp_path / "baresip", user="alice", port=port, speech=voices["alice"], dial=dial)
        try:
            bob.expect_ringing()
            bob.answer()
            bob.expect_secure(identity=BRIDGE)
            assert "ends here" in between.wait_for("calls sip:bob@example.com")
            (call,) = bob.all("call.in")
            assert call["display_name"] == "alice (not end to end)"
            bob.expect_played()
            bob.hangup()
            bob.expect_audio(beginning(voices["alice"], tmp_path / "alice-said.wav", 2))
            phone.wait_for("incoming rtp for 'audio' established")
            phone.wait_for("terminated")
        finally:
            phone.stop()


SDES = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/SAVP 8\r\n"
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
)


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (SDES.replace("RTP/SAVP", "RTP/AVP"), "under SRTP"),
        (SDES.replace("SAVP 8", "SAVP 0"), "A-law"),
        (SDES.replace("SHA1_80", "SHA1_32"), "no a=crypto"),
        (SDES.format(key="c2hvcnQ="), "not 30 octets"),
        (SDES.format(key="A" * 40 + "|2^20|1:4"), "without an MKI"),
    ],
    ids=["plain RTP", "another codec", "another suite", "a short key", "an MKI"],
)
def test_an_offer_that_cannot_be_bridged_is_refused_with_the_reason(
    refusing: Phone, offer: str, why: str
) -> None:
    answer: SipMessage = ask(refusing.port, offer)
    assert answer.status == 488
    assert why in (answer.first("warning") or "")


@pytest.fixture(scope="module")
def refusing(kms_server: TestKms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """A bridge that nobody can be reached through."""
    with Phone(
        "bridge", kms_server, tmp_path_factory.mktemp("bridge"), "bridge", "--via", "sip:127.0.0.1:9"
    ) as one:
        yield one
