"""The envelope key: RSAES-PKCS1-v1_5, and silence about bad padding."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.keys.envelope import open_envelope, seal_envelope
from sipmikey.mikey.errors import LocalError, MalformedMessage
from sipmikey.mikey.secret import Secret

from .certificates import rsa_key

KMS = rsa_key("kms")


@pytest.mark.parametrize("length", [16, 32])
class TestRoundTrip:
    def test_opens(self, length):
        data = seal_envelope(KMS.public_key(), Secret(bytes(range(length))))
        assert len(data) == 256
        opened = open_envelope(KMS, data, length=length, substitute=Secret(bytes(length)))
        assert opened == Secret(bytes(range(length)))

    def test_is_the_bare_key_under_pkcs_1(self, length):
        data = seal_envelope(KMS.public_key(), Secret(bytes(range(length))))
        assert KMS.decrypt(data, padding.PKCS1v15()) == bytes(range(length))

    def test_key_of_another_length_yields_the_substitute(self, length):
        data = seal_envelope(KMS.public_key(), Secret(bytes(range(48 - length))))
        substitute = Secret(b"s" * length)
        assert open_envelope(KMS, data, length=length, substitute=substitute) == substitute

    def test_envelope_for_another_key_yields_no_error_and_not_the_key(self, length):
        key = Secret(bytes(range(length)))
        data = seal_envelope(rsa_key("other").public_key(), key)
        opened = open_envelope(KMS, data, length=length, substitute=Secret(b"s" * length))
        assert len(opened) == length
        assert opened != key


@given(st.binary(min_size=256, max_size=256))
def test_no_octets_of_the_right_length_are_told_apart(data):
    assert len(open_envelope(KMS, data, length=32, substitute=Secret(b"s" * 32))) == 32


@pytest.mark.parametrize("size", [0, 1, 255, 257, 512])
def test_length_other_than_the_modulus_is_malformed(size):
    with pytest.raises(MalformedMessage, match="PKE Data"):
        open_envelope(KMS, bytes(size), length=16, substitute=Secret(bytes(16)))


@pytest.mark.parametrize("length", [0, 15, 17, 24, 33])
def test_only_16_and_32_bytes_are_sealed(length):
    with pytest.raises(LocalError):
        seal_envelope(KMS.public_key(), Secret(bytes(length)))
    with pytest.raises(LocalError):
        open_envelope(KMS, bytes(256), length=length, substitute=Secret(bytes(length)))


def test_substitute_must_be_as_long_as_the_key():
    with pytest.raises(LocalError):
        open_envelope(KMS, bytes(256), length=16, substitute=Secret(bytes(32)))
