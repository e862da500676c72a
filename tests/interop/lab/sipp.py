"""SIPp as a peer that does exactly as told; scenarios are put together from steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sipmikey.testing.process import PeerFailed, Process
from tests.interop.lab import programs

ECHOED = "[last_Via:]\n[last_Record-Route:]\n[last_From:]\n{to}\n[last_Call-ID:]\n[last_CSeq:]\n"
DEVICE_TAG = "[pid]-[call_number]"
SDP_TYPE = "Content-Type: application/sdp\n"


def sdp(*, media: str = "[media_port] RTP/SAVP 8", attributes: Sequence[str] = ()) -> str:
    """A session description of SIPp's own address with further session-level attribute lines."""
    lines = ["v=0", "o=sipp 1 1 IN IP[local_ip_type] [local_ip]", "s=-"]
    lines += ["c=IN IP[media_ip_type] [media_ip]", "t=0 0"]
    lines += [f"a={attribute}" for attribute in attributes]
    lines += [f"m=audio {media}", "a=rtpmap:8 PCMA/8000"]
    return "\n".join(lines)


def receive(method: str) -> str:
    """Await a request."""
    return f'<recv request="{method}"/>'


def receive_response(status: int, *, optional: bool = False, auth: bool = False) -> str:
    more = (' optional="true"' if optional else "") + (' auth="true"' if auth else "")
    return f'<recv response="{status}"{more}/>'


def respond(
    status: str, *, body: str = "", headers: Sequence[str] = (), tag: str = DEVICE_TAG, dialog: bool = False
) -> str:
    """Send a response, `respond("180 Ringing")`; in a *dialog* the To header has its tag already."""
    text = f"SIP/2.0 {status}\n"
    text += ECHOED.format(to="[last_To:]" if dialog else f"[last_To:];tag={tag}")
    text += "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>\n"
    text += "".join(f"{header}\n" for header in headers)
    if body:
        text += SDP_TYPE
    text += f"Content-Length: {'[len]' if body else '0'}\n\n{body}"
    retransmit = ' retrans="500"' if status.startswith("2") and not dialog else ""
    return f"<send{retransmit}><![CDATA[\n{text}\n]]></send>"


def pause(milliseconds: int) -> str:
    return f'<pause milliseconds="{milliseconds}"/>'


def scenario(*steps: str) -> str:
    """The scenario file of *steps*."""
    lines = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        '<scenario name="lab">',
        *steps,
        "</scenario>",
        "",
    ]
    return "\n".join(lines)


class Sipp(Process):
    """A running SIPp; `finish` waits for its verdict."""

    def __init__(
        self,
        directory: Path,
        script: str,
        *,
        port: int,
        media_port: int | None = None,
        target: str | None = None,
        service: str | None = None,
        calls: int = 1,
        transport: str = "u1",
        words: Mapping[str, str] | None = None,
        echo: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"scenario-{port}.xml"
        file.write_text(script)
        self._errors = directory / f"errors-{port}.log"
        self._errors.unlink(missing_ok=True)
        argv = [programs.need("sipp"), "-sf", str(file), "-p", str(port)]
        argv += [word for option in ("-i", "-mi", "-ci") for word in (option, "127.0.0.1")]
        argv += ["-mp", str(media_port or port + 1000), "-m", str(calls), "-t", transport]
        argv += ["-nostdin", "-timeout", "60", "-trace_err", "-error_file", str(self._errors)]
        if target:
            argv.append(target)
        if service:
            argv += ["-s", service]
        if echo:
            argv.append("-rtp_echo")
        for name, value in (words or {}).items():
            argv += ["-key", name, value]
        super().__init__(argv, name=f"sipp-{port}", env={"TERM": "dumb"}, cwd=directory)

    def finish(self, timeout: float = 30.0) -> None:
        """Wait for the end; anything but every call done as the scenario has it is a failure."""
        status = self.wait(timeout)
        if status != 0:
            detail = self._errors.read_text() if self._errors.exists() else ""
            raise PeerFailed(f"{self.name} exit status {status}\n{detail[:4000]}\n{self.tail()}")
