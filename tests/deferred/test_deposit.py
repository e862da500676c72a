"""The encoding of deposits: what is written reads the same, and each malformed field is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.deferred.claims import facts_of
from sipmikey.deferred.deposit import MAGIC, Deposit, DepositLimits, parse_deposit
from sipmikey.deferred.errors import DisorderedDeposit, MalformedDeposit
from sipmikey.mikey.errors import LimitExceeded, LocalError, PeerError

SSRC = bytes.fromhex("cafebabe")


def rtp(sequence: int, payload: bytes = b"payload", *, kind: int = 8, ssrc: bytes = SSRC) -> bytes:
    return bytes((0x80, kind)) + (sequence & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc + payload


def report(ssrc: bytes = SSRC) -> bytes:
    return bytes((0x80, 200, 0, 6)) + ssrc + bytes(20)


def framed(*packets: bytes, transfer: bytes = b"transfer") -> bytes:
    head = MAGIC + b"\1" + len(transfer).to_bytes(3, "big") + transfer
    return head + b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


deposits = st.builds(
    lambda transfer, start, payloads: Deposit(
        transfer_init=transfer,
        packets=tuple(rtp(start + number, payload) for number, payload in enumerate(payloads)),
        closing=report(),
    ),
    st.binary(min_size=1, max_size=200),
    st.integers(0, 0xFFFF),
    st.lists(st.binary(max_size=40), min_size=1, max_size=6),
)


@given(deposits)
def test_what_is_written_reads_the_same(deposit: Deposit) -> None:
    assert parse_deposit(deposit.encode()) == deposit


@given(deposits, st.data())
def test_every_truncation_is_refused(deposit: Deposit, data) -> None:
    octets = deposit.encode()
    with pytest.raises(MalformedDeposit):
        parse_deposit(octets[: data.draw(st.integers(0, len(octets) - 1))])


@given(deposits, st.data())
def test_two_packets_that_change_places_are_refused(deposit: Deposit, data) -> None:
    packets = list(deposit.packets)
    one, other = data.draw(st.integers(0, len(packets) - 1)), data.draw(st.integers(0, len(packets) - 1))
    packets[one], packets[other] = packets[other], packets[one]
    moved = Deposit(transfer_init=b"t", packets=tuple(packets), closing=deposit.closing).encode()
    if one == other:
        parse_deposit(moved)
    else:
        with pytest.raises(DisorderedDeposit):
            parse_deposit(moved)


@given(st.binary(max_size=300), st.booleans())
def test_any_octets_read_or_are_refused(octets: bytes, headed: bool) -> None:
    whole = MAGIC + b"\1" + octets if headed else octets
    found = None
    found = None
    try:
        assert parse_deposit(whole).encode() == whole
    except (MalformedDeposit, LimitExceeded) as error:
        found = error
    if found is not None:
        assert found.field is not None
        assert found.offset is not None
        assert 0 <= found.offset <= len(whole)


@given(st.binary(max_size=300))
def test_any_transfer_is_read_or_refused(octets: bytes) -> None:
    with pytest.raises(PeerError):
        facts_of(octets)


@pytest.mark.parametrize(
    ("octets", "field", "error"),
    [
        (b"", "magic", MalformedDeposit),
        (b"RIFF....", "magic", MalformedDeposit),
        (MAGIC + b"\1\0", "deposit header", MalformedDeposit),
        (MAGIC + b"\2\0\0\1t", "version", MalformedDeposit),
        (MAGIC + b"\1\0\0\0", "TRANSFER_INIT", MalformedDeposit),
        (MAGIC + b"\1\0\0\5abc", "TRANSFER_INIT", MalformedDeposit),
        (MAGIC + b"\1\1\0\1" + bytes(65537), "TRANSFER_INIT", LimitExceeded),
        (framed(), "deposit", MalformedDeposit),
        (framed(report()), "packet 1", MalformedDeposit),
        (framed(rtp(1), rtp(2)), "packet 2", MalformedDeposit),
        (framed(rtp(1), report()) + b"\0", "packet 3", MalformedDeposit),
        (framed(rtp(1), report()) + b"\0\x20abc", "packet 3", MalformedDeposit),
        (framed(rtp(1), b"\0" * 20, report()), "packet 2", MalformedDeposit),
        (framed(rtp(1), rtp(2)[:11], report()), "packet 2", MalformedDeposit),
        (framed(rtp(1), report(), rtp(2), report()), "packet 2", DisorderedDeposit),
        (framed(rtp(1), report(b"dcba")), "packet 2", DisorderedDeposit),
        (framed(rtp(1), rtp(3), report()), "packet 2", DisorderedDeposit),
        (framed(rtp(1), rtp(2, ssrc=b"dcba"), report()), "packet 2", DisorderedDeposit),
        (framed(rtp(1), rtp(2, kind=0), report()), "packet 2", DisorderedDeposit),
        (framed(rtp(1, bytes(1489)), report()), "packet 1", LimitExceeded),
    ],
)
def test_the_field_that_is_wrong_is_named(octets: bytes, field: str, error: type[PeerError]) -> None:
    with pytest.raises(error) as caught:
        parse_deposit(octets)
    assert caught.value.field == field


def test_more_packets_than_are_taken_are_refused() -> None:
    limits = DepositLimits(packets=3)
    parse_deposit(framed(*(rtp(number) for number in range(3)), report()), limits)
    with pytest.raises(LimitExceeded, match="more than 3 packets"):
        parse_deposit(framed(*(rtp(number) for number in range(4)), report()), limits)


@pytest.mark.parametrize(
    ("transfer", "packets"), [(b"", (rtp(1),)), (b"t", ()), (b"t", (b"",)), (b"t", (bytes(65536),))]
)
def test_what_cannot_be_written_is_told(transfer: bytes, packets: tuple[bytes, ...]) -> None:
    with pytest.raises(LocalError):
        Deposit(transfer_init=transfer, packets=packets, closing=report())
