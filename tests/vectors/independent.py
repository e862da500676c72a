"""A second computation of exchange vectors, with struct, hmac and the openssl command alone.

Nothing of the package is imported: messages are taken apart here by the figures of the RFCs, keys are derived
from the labels as the RFC prints them, and `openssl` decrypts and verifies. It covers what the vectors use,
not every option.
"""

from __future__ import annotations

import hmac
import struct
import subprocess
from pathlib import Path

ENCR, AUTH, SALT = "150533e1", "2d22ac75", "29b88916"
TEK, SESSION_SALT = "2ad01c64", "39a2c14b"
MAC_LENGTH = {0: 0, 1: 20, 2: 32}
TS_LENGTH = {0: 8, 1: 8, 2: 4, 3: 4}


def openssl(*words: str, data: bytes) -> bytes:
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


def prf(kind: int, inkey: bytes, label: bytes, length: int) -> bytes:
    """RFC 3830 section 4.1.2, with SHA-256 for kind 1."""
    digest = "sha256" if kind else "sha1"
    size = 32 if kind else 20
    out = bytes(length)
    for at in range(0, len(inkey), 32):
        s, a, stream = inkey[at : at + 32], label, b""
        for _ in range(-(-length // size)):
            a = hmac.digest(s, a, digest)
            stream += hmac.digest(s, a + label, digest)
        out = bytes(x ^ y for x, y in zip(out, stream, strict=False))
    return out


def counted(octets: bytes) -> bytes:
    return bytes((len(octets),)) + octets


def ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    if not data:
        return b""
    return openssl("enc", "-d", f"-aes-{8 * len(key)}-ctr", "-K", key.hex(), "-iv", iv.hex(), data=data)


class Octets:
    """Reads fields from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def u(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def payload(octets: Octets, number: int) -> tuple[int, dict]:
    """Read one payload; return the number of the next and its fields, with where its octets end."""
    following = octets.u(1) if number != 4 else 0
    found: dict = {"number": number, "start": octets.at}
    if number == 5:
        found["t"] = t_octets(octets)
    elif number == 13:
        found["role"] = octets.u(1)
        found["t"] = t_octets(octets)
    elif number == 14:
        found["role"] = octets.u(1)
        octets.u(1)
        found["data"] = octets.take(octets.u(2))
    elif number == 11:
        found["rand"] = octets.take(octets.u(1))
    elif number == 15:
        found["role"] = octets.u(1)
        found["rand"] = octets.take(octets.u(1))
    elif number == 1:
        found["alg"] = octets.u(1)
        found["data"] = octets.take(octets.u(2))
        found["mac"] = octets.take(MAC_LENGTH[octets.u(1)])
    elif number == 9:
        found["mac"] = octets.take(MAC_LENGTH[octets.u(1)])
    elif number == 10:
        found["policy"] = octets.u(1)
        octets.u(1)
        params = Octets(octets.take(octets.u(2)))
        found["params"] = {}
        while params.at < len(params.data):
            kind = params.u(1)
            found["params"][kind] = params.u(params.u(1))
    elif number in (16, 17):
        begin = octets.at
        octets.take(4)
        word = octets.u(3)
        found["prf"], found["flags"] = word >> 17, word >> 5 & 0xFFF
        found["policy"] = octets.take(octets.u(2))
        if number == 17:
            found["ticket"] = octets.take(octets.u(2))
            found["covered"] = octets.data[begin : octets.at]
            found["before_initiator_data"] = octets.at
            found["initiator_data"] = octets.take(octets.u(2))
    elif number == 4:
        found["signature"] = octets.take(octets.u(2) & 0xFFF)
    elif number == 2:
        found["data"] = octets.take(octets.u(2) & 0x3FFF)
    elif number in (6, 7):
        octets.u(1)
        found["data"] = octets.take(octets.u(2))
    elif number == 8:
        octets.take({0: 20, 1: 16, 2: 32}[octets.u(1)])
    else:
        raise AssertionError(number)
    found["end"] = octets.at
    return following, found


def t_octets(octets: Octets) -> bytes:
    """Return the timestamp as it goes into an IV."""
    kind = octets.u(1)
    value = octets.take(TS_LENGTH[kind])
    return value + bytes(4) if kind == 3 else bytes(8 - len(value)) + value


class Mikey:
    """A message taken apart."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        octets = Octets(raw)
        assert octets.u(1) == 1
        self.data_type, following, flags = octets.u(1), octets.u(1), octets.u(1)
        self.prf = flags & 0x7F
        self.csb = octets.take(4)
        count, kind = octets.u(1), octets.u(1)
        self.sessions = [self._session(octets) for _ in range(count)] if kind == 2 else []
        self.payloads = []
        while following:
            following, found = payload(octets, following)
            self.payloads.append(found)
        assert octets.at == len(raw)

    @staticmethod
    def _session(octets: Octets) -> dict:
        cs_id = octets.u(1)
        octets.u(1)
        policies = octets.take(octets.u(1) & 0x7F)
        data = octets.take(octets.u(2))
        return {"cs_id": cs_id, "policies": policies, "ssrc": data[:4], "spi": octets.take(octets.u(1))}

    def all(self, number: int, role: int | None = None) -> list[dict]:
        return [
            item for item in self.payloads if item["number"] == number and role in (None, item.get("role"))
        ]

    def one(self, number: int, role: int | None = None) -> dict:
        (found,) = self.all(number, role)
        return found

    def rand(self, role: int) -> bytes:
        found = self.all(15, role)
        return found[0]["rand"] if found else b""


def message_keys(message: Mikey, inkey: bytes, number: int, rand_i: bytes, rand_r: bytes) -> dict[str, bytes]:
    """Section 5.1.2: number 1 for initial messages and 2 for responses."""
    tail = b"\xff" + message.csb + bytes((number,)) + counted(rand_i) + counted(rand_r)
    return suite_keys(message.prf, inkey, tail)


def suite_keys(kind: int, inkey: bytes, tail: bytes) -> dict[str, bytes]:
    return {
        "encr_key": prf(kind, inkey, bytes.fromhex(ENCR) + tail, 32 if kind else 16),
        "salt_key": prf(kind, inkey, bytes.fromhex(SALT) + tail, 14),
        "auth_key": prf(kind, inkey, bytes.fromhex(AUTH) + tail, 32 if kind else 20),
    }


def check_mac(message: Mikey, keys: dict[str, bytes], following: bytes) -> None:
    """Section 5.5; Initiator Data and its length are left out of TRANSFER_INIT."""
    mac = message.payloads[-1]["mac"]
    covered = message.raw[: -len(mac)]
    if message.data_type == 14:
        for ticket in message.all(17):
            covered = covered[: ticket["before_initiator_data"]] + covered[ticket["end"] :]
    digest = "sha256" if message.prf else "sha1"
    assert hmac.digest(keys["auth_key"], covered + following, digest) == mac


def decrypt(keys: dict[str, bytes], csb: bytes, t: bytes, data: bytes) -> list[dict]:
    """RFC 3830 section 4.2.3, then the key data sub-payloads of section 6.13."""
    mask = int.from_bytes(b"\0\0" + csb + t, "big")
    iv = (int.from_bytes(keys["salt_key"], "big") ^ mask).to_bytes(14, "big") + b"\0\0"
    octets = Octets(ctr(keys["encr_key"], iv, data))
    found = []
    following = 20
    while following == 20:
        following = octets.u(1)
        kind = octets.u(1)
        key: dict = {"type": kind >> 4, "key": octets.take(octets.u(2))}
        key["salt"] = octets.take(octets.u(2)) if kind >> 4 in (1, 3, 5) else None
        key["spi"] = octets.take(octets.u(1)) if kind & 15 == 1 else b""
        found.append(key)
    assert octets.at == len(octets.data)
    return found


def fork(kind: int, constant: str, key: bytes, identity: bytes, rand: bytes) -> bytes:
    """Section 5.1.1."""
    label = bytes.fromhex(constant) + b"\xff" * 5 + b"\0" + struct.pack(">H", len(identity)) + identity
    return prf(kind, key, label + counted(rand), len(key))


def open_ticket(ticket: dict, tpk: bytes) -> dict:
    """Appendix A."""
    octets = Octets(ticket["ticket"])
    following = octets.u(1)
    octets.take(octets.u(2))
    payloads = []
    while following:
        following, found = payload(octets, following)
        payloads.append(found)
    rand = next(item["rand"] for item in payloads if item["number"] == 11)
    keys = suite_keys(ticket["prf"], tpk, b"\xff" * 5 + b"\5" + counted(rand))
    mac = payloads[-1]["mac"]
    digest = "sha256" if ticket["prf"] else "sha1"
    assert hmac.digest(keys["auth_key"], ticket["covered"][: -len(mac)], digest) == mac
    t = next(item["t"] for item in payloads if item["number"] == 5)
    kemac = next(item for item in payloads if item["number"] == 1)
    mpk, *session_keys = decrypt(keys, b"\xff" * 4, t, kemac["data"])
    assert mpk["type"] == 6
    tail = b"\xff" * 5 + b"\6" + counted(rand)
    length = len(mpk["key"])
    return {
        "keys": keys,
        "mpk": mpk["key"],
        "mpk_i": prf(ticket["prf"], mpk["key"], bytes.fromhex("220e99a2") + tail, length),
        "mpk_r": prf(ticket["prf"], mpk["key"], bytes.fromhex("1f4d675b") + tail, length),
        "session_keys": session_keys,
    }


def session_keys(
    message: Mikey, policies: dict[int, dict], keys: list[dict], rand_i: bytes, rand_r: bytes
) -> list[dict]:
    """Section 5.1.3: SRTP master keys and salts of the sessions of a response."""
    found = []
    for session in message.sessions:
        key = next(item for item in keys if item["spi"] == session["spi"])
        params = policies[session["policies"][0]]
        length, salt_length = params.get(1, 16), params.get(4, 14)
        tail = bytes((session["cs_id"],)) + b"\xff" * 4 + b"\3" + counted(rand_i) + counted(rand_r)
        master = key["key"]
        salt = key["salt"]
        if key["type"] not in (2, 3):
            master = prf(message.prf, key["key"], bytes.fromhex(TEK) + tail, length)
            if salt is None:
                salt = prf(message.prf, key["key"], bytes.fromhex(SESSION_SALT) + tail, salt_length)
        found.append({"cs_id": session["cs_id"], "master_key": master, "master_salt": salt})
    return found


def verify_signature(message: Mikey, certificate: str, following: bytes, directory: Path) -> None:
    """RSA/PKCS#1/1.5 with the hash of the suite."""
    signature = message.payloads[-1]["signature"]
    (directory / "certificate.pem").write_text(certificate, encoding="ascii")
    (directory / "signature").write_bytes(signature)
    key = openssl("x509", "-in", str(directory / "certificate.pem"), "-noout", "-pubkey", data=b"")
    (directory / "key.pem").write_bytes(key)
    said = openssl(
        "dgst", "-sha256" if message.prf else "-sha1", "-verify", str(directory / "key.pem"),
        "-signature", str(directory / "signature"), data=message.raw[: -len(signature)] + following,
    )  # fmt: skip
    assert said.strip() == b"Verified OK"


def open_envelope(message: Mikey, private_key: str, directory: Path) -> bytes:
    path = directory / "kms.pem"
    path.write_text(private_key, encoding="ascii")
    return openssl("pkeyutl", "-decrypt", "-inkey", str(path), data=message.one(2)["data"])
