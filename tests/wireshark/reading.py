"""What the dissector and `sipmikey decode` each say of the same messages."""

from __future__ import annotations

import struct
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from sipmikey.decode.explain.message import explain
from sipmikey.decode.results import Names
from sipmikey.decode.unlock import Unlocker
from sipmikey.mikey.secret import Secret

SCRIPT = Path(__file__).parents[2] / "contrib" / "wireshark" / "mikey_ticket.lua"
PORT = 2269
_RAW_IP = 101


@dataclass(slots=True, kw_only=True)
class Keys:
    """The keys and names of a key file; `kms_keys` are for `sipmikey decode`, which computes RSA."""

    psks: list[bytes] = field(default_factory=list)
    tpks: list[bytes] = field(default_factory=list)
    envelopes: list[bytes] = field(default_factory=list)
    kms_keys: list[rsa.RSAPrivateKey] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    def write(self, path: Path) -> Path:
        lines = ["# keys of a test"]
        for word, keys in (("psk", self.psks), ("tpk", self.tpks), ("envelope", self.envelopes)):
            lines += [f"{word} {key.hex()}" for key in keys]
        for word in ("initiator", "responder", "kms"):
            if name := getattr(self.names, word):
                lines.append(f"{word} {name.decode()}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def unlocker(self) -> Unlocker:
        return Unlocker(
            psks=[Secret(key) for key in self.psks],
            tpks=[Secret(key) for key in self.tpks],
            kms_keys=self.kms_keys,
            names=self.names,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said of one message. ``unnamed`` are the octets that no field names."""

    name: str
    wrong: tuple[str, ...]
    proven: tuple[str, ...]
    unnamed: tuple[int, ...] = ()
    secrets: tuple[str, ...] = ()


def write_capture(path: Path, messages: Iterable[bytes]) -> Path:
    """Write a capture with a datagram for each message."""
    octets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, _RAW_IP)]
    for number, message in enumerate(messages):
        datagram = struct.pack(">HHHH", PORT, PORT, 8 + len(message), 0) + message
        head = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), number & 0xFFFF, 0, 64, 17, 0,
            b"\xc0\0\2\1", b"\xc0\0\2\2",
        )  # fmt: skip
        octets.append(struct.pack("<IIII", 1000 + number, 0, len(head + datagram), len(head + datagram)))
        octets.append(head + datagram)
    path.write_bytes(b"".join(octets))
    return path


def tshark(capture: Path, *words: str, keys: Path | None = None) -> str:
    """Run tshark with the dissector, twice over the capture, and return what it prints."""
    argv = ["tshark", "-2", "-n", "-r", str(capture), "-X", f"lua_script:{SCRIPT}", *words]
    if keys is not None:
        argv += ["-o", f"mikey_ticket.key_file:{keys}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout


def dissected(capture: Path, keys: Path | None = None, *, filtered: bool = False) -> list[Said]:
    """Return what the dissector says of every message of a capture; *filtered* leaves other packets out."""
    only = ("-Y", "mikey_ticket") if filtered else ()
    document = ET.fromstring(tshark(capture, "-T", "pdml", *only, keys=keys))
    return [
        _said(proto)
        for packet in document.iter("packet")
        for proto in packet.iter("proto")
        if proto.get("name") == "mikey_ticket"
    ]


def _said(proto: ET.Element) -> Said:
    size = int(proto.get("size", "0"))
    start = next(int(node.get("pos", "0")) for node in proto.iter("field") if node.get("size") != "0")
    named: set[int] = set()
    shown: dict[str, list[str]] = {}
    for node in _leaves(proto):
        name, octets = node.get("name", ""), int(node.get("size", "0"))
        assert "lua" not in name.lower() or "error" not in node.get("show", "").lower(), node.get("show")
        shown.setdefault(name.removeprefix("mikey_ticket."), []).append(node.get("show", ""))
        if name.startswith("mikey_ticket.") and not name.endswith(".rest"):
            at = int(node.get("pos", "0"))
            named |= set(range(at, at + octets))
    name = proto.get("showname", "").split(", ")[1]
    secrets = [
        node.get("value", "")
        for node in proto.iter("field")
        if node.get("name") in ("mikey_ticket.srtp.key", "mikey_ticket.srtp.salt")
    ]
    return Said(
        name=name.removesuffix(" (RFC 3830)"),
        wrong=tuple(shown.get("wrong", ())),
        proven=tuple(shown.get("proven", ())),
        unnamed=tuple(at - start for at in range(start, start + size) if at not in named),
        secrets=tuple(secrets),
    )


def _leaves(node: ET.Element) -> Iterator[ET.Element]:
    """Yield the fields without fields in them; decrypted octets are in a buffer of their own."""
    for child in node.findall("field"):
        if ", decrypted" in child.get("show", ""):
            continue
        if child.find("field") is None or child.get("name") in ("mikey_ticket.wrong", "mikey_ticket.doubt"):
            yield child
        else:
            yield from _leaves(child)


def decoded(messages: Sequence[bytes], keys: Keys | None = None) -> list[Said]:
    """Return what `sipmikey decode` says of the messages."""
    explanations = [explain(data) for data in messages]
    unlock = (keys or Keys()).unlocker()
    unlock.learn([item.message for item in explanations if item.message is not None])
    said = []
    for item in explanations:
        findings, nodes = list(item.findings), []  # type: ignore[var-annotated]
        if item.message is not None:
            verified, nodes = unlock.look(item.message)
            findings += verified
        said.append(
            Said(
                name=item.name,
                wrong=tuple(f"{each.field}: {each.detail}" for each in findings if each.kind == "error"),
                proven=tuple(f"{each.field}: {each.detail}" for each in findings if each.kind == "proof"),
                secrets=tuple(
                    str(each.value) for node in nodes if node.name == "SRTP keys" for each in node.children
                ),
            )
        )
    return said
