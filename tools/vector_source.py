"""What test vectors are made from: a seed that stands for clock, randomness and RSA keys."""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sipmikey.ticket.environment import Environment

NOW_S = 1_782_864_000
"""Unix time of every vector: 2026-07-01 00:00:00 UTC."""

_STEP_NS = 250_000_123
"""What the clock moves by whenever it is read."""


class Seed:
    """Deterministic octets, a clock that moves, and the environment made of both.

    The octets are SHA-256(seed || counter) for counter 0, 1, 2, ...; nothing of it is meant to be secret.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._counter = 0
        self._reads = 0
        self._ticks = 0
        self.env = Environment(now_ns=self.now_ns, random=self.random, clock_skew_s=3600)
        self.counting_env = Environment(
            now_ns=self.now_ns, random=self.random, clock_skew_s=3600, counter=self._tick
        )

    def random(self, count: int) -> bytes:
        """Return the next *count* octets."""
        octets = b""
        while len(octets) < count:
            block = self.name.encode() + self._counter.to_bytes(4, "big")
            octets += hashlib.sha256(block).digest()
            self._counter += 1
        return octets[:count]

    def now_ns(self) -> int:
        """Return the time, later at each call."""
        self._reads += 1
        return NOW_S * 1_000_000_000 + self._reads * _STEP_NS

    def _tick(self) -> int:
        self._ticks += 1
        return 1000 + self._ticks


_SMALL_PRIMES = [n for n in range(3, 2000) if all(n % d for d in range(2, int(n**0.5) + 1))]


def _is_prime(candidate: int) -> bool:
    """Return whether a random odd number is prime (Miller-Rabin; nobody chose the number)."""
    if any(candidate % prime == 0 for prime in _SMALL_PRIMES):
        return False
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in _SMALL_PRIMES[:12]:
        power = pow(base, odd, candidate)
        if power in (1, candidate - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % candidate
            if power == candidate - 1:
                break
        else:
            return False
    return True


def _prime(seed: Seed) -> int:
    candidate = int.from_bytes(seed.random(128), "big") | 3 << 1022 | 1
    while not _is_prime(candidate) or candidate % 65537 == 1:
        candidate += 2
    return candidate


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the RSA key of 2048 bits that *name* stands for."""
    seed = Seed(f"rsa {name}")
    p, q = sorted((_prime(seed), _prime(seed)), reverse=True)
    d = pow(65537, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(65537, p * q),
    ).private_key()


def self_signed(key: rsa.RSAPrivateKey, identity: str, serial: int) -> x509.Certificate:
    """Return a certificate of *identity* signed with its own key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2049, 12, 31, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def pem_pair(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> dict[str, object]:
    """Return certificate and private key as the vectors hold them."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        "private_key": private.decode(),
    }


def pkcs1_encrypt(seed: Seed, public_key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
    """RSAES-PKCS1-v1_5 whose padding is drawn from *seed* (RFC 8017 section 7.2.1)."""
    numbers = public_key.public_numbers()
    length = (public_key.key_size + 7) // 8
    padding = b""
    while len(padding) < length - 3 - len(plaintext):
        padding += seed.random(1).strip(b"\0")
    encoded = b"\0\2" + padding + b"\0" + plaintext
    return pow(int.from_bytes(encoded, "big"), numbers.e, numbers.n).to_bytes(length, "big")


def write(path: Path, vectors: list[dict[str, object]]) -> None:
    """Write a vector file."""
    document = {"format": "mikey-ticket-vectors/1", "vectors": vectors}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
