"""The dissector says of messages what `sipmikey decode` says, names every octet, finds the same keys."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.wireshark import sequences
from tests.wireshark.reading import Keys, Said, decoded, dissected, write_capture

FOLDERS = [folder for folder in (sequences.OWN, sequences.OUTSIDE) if folder.is_dir()]
EXCHANGES = [(folder, name) for folder in FOLDERS for name in sequences.exchanges(folder)]
REJECTS = [(folder, name) for folder in FOLDERS for name, _ in sequences.rejects(folder)]
RSA = ("SIGN: the signature is of the certificate sent", "SIGN signature: auth-failure")
"""What only `sipmikey decode` says: the dissector computes no RSA."""


def _verdict(said: Said) -> tuple[str, bool, int]:
    """Name, whether anything is wrong, and how much is proven where nothing is."""
    wrong = [text for text in said.wrong if not text.startswith(RSA)]
    proven = [text for text in said.proven if not text.startswith(RSA)]
    return said.name, bool(wrong), 0 if wrong else len(proven)


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
