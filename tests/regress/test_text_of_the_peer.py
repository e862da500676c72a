"""The text of others is shown, never executed: it reaches nothing raw, and silences nothing that follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.cli.calls.narrate import narrate
from sipmikey.cli.output import Output, Paint
from sipmikey.printable import json_line, printable, printable_line, printable_values
from sipmikey.sip import SipMessage
from tests.cli.commands import Start
from tests.interop.lab.peer import SipPeer

HOSTILE = "\x1b[2J\x1b[1;1H\x1b[32mcall PROVEN\x9b31m\u202eevil\u2028second\x85line\x07"
IN_CLEAR = [
    "--security",
    "off",
    "--null-audio",
    "--identity",
    "sip:alice@example.com",
    "--listen",
    "127.0.0.1:0",
]
STRICT = {"PYTHONIOENCODING": "utf-8:strict"}


def refuse(peer: SipPeer, text: bytes) -> None:
    """Answer the next INVITE with 603, *text* in its reason phrase, Warning and Reason."""
    invite = peer.request("INVITE")
    lines = [f"Via: {via}" for via in invite.all("via")]
    lines += [f"From: {invite['From']}", f"To: {invite['To']};tag=x", f"Call-ID: {invite['Call-ID']}"]
    lines += [f"CSeq: {invite['CSeq']}", "Content-Length: 0"]
    head = b"SIP/2.0 603 No " + text + b"\r\n" + "".join(f"{line}\r\n" for line in lines).encode()
    head += b'Warning: 399 host "' + text + b'"\r\nReason: SIP;cause=603;text="' + text + b'"\r\n\r\n'
    peer.send(head, peer._from[id(invite)])


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "text", [HOSTILE.encode(), "Über\x01 \x9b31m".encode("latin-1")], ids=["escapes", "latin-1"]
)
def test_what_a_callee_writes_reaches_the_terminal_escaped(
    command: Start, text: bytes, as_json: bool
) -> None:
    with SipPeer("bob") as peer:
        words = ["call", "sip:bob@example.com", "--via", f"sip:{peer.hostport}", *IN_CLEAR, "--ladder"]
        caller = command(*words, *(["--json"] if as_json else []), environment=STRICT)
        refuse(peer, text)
        out, err = caller.process.communicate(timeout=60)
    assert caller.process.returncode == 1, err
    for line in (out + err).split("\n"):
        assert line.isprintable(), repr(line)
    if as_json:
        documents = [json.loads(line) for line in out.splitlines()]
        assert [one["type"] for one in documents][-2:] == ["call.end", "result"]
    else:
        assert "The other side declined." in out


def test_an_event_after_one_with_undecodable_text_is_still_told(command: Start) -> None:
    with SipPeer("alice") as peer:
        bob = command(
            "answer", "--auto", *IN_CLEAR, "--identity", "sip:bob@example.com", "--json", environment=STRICT
        )
        contact = bob.until("agent.ready")["contact"].strip("<>")
        to = ("127.0.0.1", int(contact.rpartition(":")[2].partition(";")[0]))
        for number in (1, 2):
            call_in_clear(peer, to, f"call-{number}", "Grüße \x9b".encode("latin-1"))
            bob.until("call.end")
        bob.process.send_signal(signal.SIGINT)
        assert bob.finish() == 0
    assert [one["call"] for one in bob.seen if one["type"] == "call.end"] == ["1", "2"]


def call_in_clear(peer: SipPeer, to: tuple[str, int], call_id: str, farewell: bytes) -> None:
    """Call *to*, and hang up with *farewell* as the reason."""
    sdp = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
    )
    invite = peer.invite("sip:bob@example.com", to, body=sdp)
    answered = peer.final(invite, to)
    assert answered.status == 200
    target = answered.uri("contact")
    head = [f"BYE {target} SIP/2.0", f"Via: SIP/2.0/UDP {peer.hostport};branch=z9hG4bK{call_id}"]
    head += [
        f"From: {invite['From']}",
        f"To: {answered['To']}",
        f"Call-ID: {invite['Call-ID']}",
        "CSeq: 2 BYE",
    ]
    octets = "".join(f"{line}\r\n" for line in head).encode() + b'Reason: SIP;cause=200;text="' + farewell
    peer.send(octets + b'"\r\nContent-Length: 0\r\n\r\n', to)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_reader_that_went_away_ends_the_command(command: Start, as_json: bool) -> None:
    bob = command("answer", "--auto", *IN_CLEAR, *(["--json"] if as_json else []))
    assert bob.process.stdout is not None
    assert bob.process.stderr is not None
    bob.process.stdout.readline()
    bob.process.stdout.close()
    assert bob.process.wait(timeout=30) == 0
    assert "Traceback" not in bob.process.stderr.read()


def test_a_closed_terminal_ends_the_call_like_sigterm(command: Start) -> None:
    with SipPeer("bob") as peer:
        caller = command("call", "sip:bob@example.com", "--via", f"sip:{peer.hostport}", *IN_CLEAR, "--json")
        peer.respond(peer.request("INVITE"), 180, "Ringing", tag="x")
        caller.process.send_signal(signal.SIGHUP)
        cancelled = peer.request("CANCEL")
        peer.respond(cancelled, 200, "OK", tag="x")
        peer.respond(peer.request("INVITE"), 487, "Request Terminated", tag="x")
        assert caller.finish() == 130


@pytest.mark.processes
def test_an_error_in_the_task_that_prints_ends_the_command(tmp_path: Path) -> None:
    spoilt = tmp_path / "sitecustomize.py"
    spoilt.write_text(
        "import importlib, sys\n"
        "import sipmikey.cli.calls.narrate as told\n"
        "told._TELLERS['call.out'] = lambda event, paint: 1 / 0\n"
    )
    with SipPeer("bob") as peer:
        words = ["call", "sip:bob@example.com", "--via", f"sip:{peer.hostport}", *IN_CLEAR, "--verbose"]
        # Only a new process of Python reads sitecustomize.
        path = os.pathsep.join([str(tmp_path), *sys.path])
        caller = subprocess.run(
            [sys.executable, "-m", "sipmikey.cli", *words], capture_output=True, text=True, timeout=60,
            env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent", "PYTHONPATH": path},
        )  # fmt: skip
    assert caller.returncode == 70
    assert "ZeroDivisionError" in caller.stderr


@given(st.text() | st.sampled_from([HOSTILE, "\ud800", "\udce9"]))
def test_no_text_acts_on_a_terminal_or_ends_a_json_line(text: str) -> None:
    assert printable(text).isprintable()
    line = printable_line(f"\x1b[2J{printable(text)}")
    assert line.isprintable()
    line = json_line({"text": text, "more": [text, {text: 1}]})
    assert line.isprintable()
    line.encode()
    if not any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        assert json.loads(line)["text"] == text


def test_our_colours_stay_and_those_of_others_do_not() -> None:
    class Terminal:
        written: list[str] = []  # noqa: RUF012

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            self.written.append(text)

        def flush(self) -> None:
            pass

    stream: Any = Terminal()
    os.environ.pop("NO_COLOR", None)
    output = Output(as_json=False, stream=stream)
    event: Any = printable_values({"type": "mikey.refused", "reason": "policy", "detail": HOSTILE})
    line = narrate(event, output.paint)
    assert line is not None
    output.text(line)
    text = "".join(stream.written)
    assert "\x1b[32m" not in text
    if Paint(stream).bad("x") != "x":
        assert text.startswith("\x1b[31;1m")


def test_a_message_of_undecodable_octets_has_text_that_can_be_printed() -> None:
    message = SipMessage.parse(b'SIP/2.0 603 \xe9\xff\r\nCSeq: 1 INVITE\r\nWarning: 399 h "\xfc"\r\n\r\n')
    assert (message.warning, message.reason_phrase) == ("ü", "éÿ")
