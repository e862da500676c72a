"""The dissector says of messages what `sipmikey decode` says, names every octet, finds the same keys."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from sipmikey.keys.signature import sign, signature_length
from sipmikey.mikey.registry import HashFunc, SignatureType
from sipmikey.vectors.exchange import private_key
from tests.wireshark import sequences
from tests.wireshark.reading import Keys, Said, decoded, dissected, write_capture

FOLDERS = [folder for folder in (sequences.OWN, sequences.OUTSIDE) if folder.is_dir()]
EXCHANGES = [(folder, name) for folder in FOLDERS for name in sequences.exchanges(folder)]
REJECTS = [(folder, name) for folder in FOLDERS for name, _ in sequences.rejects(folder)]


def _verdict(said: Said) -> tuple[str, bool, int]:
    """Name, whether anything is wrong, and how much is proven where nothing is."""
    return said.name, bool(said.wrong), 0 if said.wrong else len(said.proven)


def _compare(messages: list[bytes], keys: Keys | None, folder: Path) -> list[Said]:
    capture = write_capture(folder / "messages.pcap", messages)
    found = dissected(capture, keys.write(folder / "keys.txt") if keys is not None else None)
    expected = decoded(messages, keys)
    assert [_verdict(said) for said in found] == [_verdict(said) for said in expected]
    assert [said.unnamed for said in found if not said.wrong] == [() for said in found if not said.wrong]
    return found


@pytest.mark.parametrize(("folder", "name"), EXCHANGES, ids=[f"{f.parent.name}-{n}" for f, n in EXCHANGES])
def test_exchange_with_its_keys(folder: Path, name: str, tmp_path: Path) -> None:
    vector = sequences.exchanges(folder)[name]
    messages, keys = sequences.messages(vector), sequences.keys(vector)
    found = _compare(messages, keys, tmp_path)
    if not keys.envelopes:
        assert all(said.proven or said.wrong for said in found)
        secrets = [said.secrets for said in decoded(messages, keys)]
        assert [sorted(said.secrets) for said in found] == [sorted(each) for each in secrets]
    else:
        assert any(said.secrets for said in found)


@pytest.mark.parametrize(("folder", "name"), REJECTS, ids=[f"{f.parent.name}-{n}" for f, n in REJECTS])
def test_rejects_with_the_keys_of_their_exchange(folder: Path, name: str, tmp_path: Path) -> None:
    vector = sequences.exchanges(folder)[name]
    _compare(dict(sequences.rejects(folder))[name], sequences.keys(vector), tmp_path)


def test_every_message_of_every_file_without_keys(tmp_path: Path) -> None:
    messages = []
    for folder in FOLDERS:
        messages += [
            one for vector in sequences.exchanges(folder).values() for one in sequences.messages(vector)
        ]
        messages += [one for _, sent in sequences.rejects(folder) for one in sent]
    _compare(list(dict.fromkeys(messages)), None, tmp_path)


def test_signatures_of_both_types(tmp_path: Path) -> None:
    """The vectors have PKCS #1 v1.5; here the same message is signed with PSS, and with neither."""
    vector = sequences.exchanges(sequences.OWN)["full-256-pk-forking"]
    raw = bytes.fromhex(vector["messages"]["request_init"])
    key, names = private_key(vector["credentials"]["initiator"], "initiator"), vector["identities"]
    length = signature_length(key)
    unsigned = raw[: -length - 2] + (1 << 12 | length).to_bytes(2, "big")
    covered = unsigned + (names["initiator"] + names["kms"]).encode()
    signature = sign(key, covered, hash_func=HashFunc.SHA_256, signature_type=SignatureType.RSA_PSS)
    broken = bytes((signature[0] ^ 1,)) + signature[1:]
    found = _compare([unsigned + signature, unsigned + broken, raw], sequences.keys(vector), tmp_path)
    assert [bool(said.wrong) for said in found] == [False, True, False]
    assert [len(said.proven) for said in found] == [1, 0, 1]


def test_a_mac_that_does_not_verify_is_wrong(tmp_path: Path) -> None:
    vector = sequences.exchanges(sequences.OWN)["full-256-forking"]
    messages = [one[:-1] + bytes([one[-1] ^ 1]) for one in sequences.messages(vector)]
    found = dissected(
        write_capture(tmp_path / "c.pcap", messages), sequences.keys(vector).write(tmp_path / "k.txt")
    )
    assert [bool(said.wrong) for said in found][:1] == [True]
    assert all(not any(text.startswith("V:") for text in said.proven) for said in found)


def test_messages_with_octets_changed_at_random(tmp_path: Path) -> None:
    random = Random(6043)
    messages = []
    for vector in sequences.exchanges(sequences.OWN).values():
        for message in sequences.messages(vector):
            changed = bytearray(message)
            for _ in range(random.randint(1, 4)):
                changed[random.randrange(len(changed))] = random.choice((0, 1, 2, 14, 20, 127, 255))
            messages.append(bytes(changed))
    found = _compare(messages, None, tmp_path)
    assert any(said.wrong for said in found)
    assert any(not said.wrong for said in found)


def test_truncated_messages_are_named_as_far_as_they_go(tmp_path: Path) -> None:
    whole = sequences.messages(sequences.exchanges(sequences.OWN)["full-256-forking"])[2]
    cut = [whole[:length] for length in range(1, len(whole), 7)]
    found = _compare(cut, None, tmp_path)
    assert all(said.wrong for said in found)
