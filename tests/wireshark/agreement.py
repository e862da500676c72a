"""Checking that the dissector and `sipmikey decode` agree about a capture of real traffic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sipmikey.decode.capture import messages
from tests.wireshark.reading import decoded, dissected


def check_dissector(capture: Path) -> int:
    """Raise `AssertionError` unless both find the same messages, say the same, and every octet is named.

    Return how many messages there are.
    """
    carried = [found.data for message in messages(capture) for found in message.found]
    sent = [data for data in carried if data]
    found = dissected(capture, filtered=True) if carried else []
    mine = Counter((said.name, bool(said.wrong)) for said in decoded(sent))
    theirs = Counter((said.name, bool(said.wrong)) for said in found)
    # Of what is not base64, the dissector shows the octets before the fault.
    undecodable = Counter(wrong for _, wrong in (theirs - mine).elements())
    agreed = not mine - theirs and undecodable == Counter({True: len(carried) - len(sent)})
    assert agreed, f"the dissector: {theirs}, decode: {mine}"
    unnamed = [(said.name, said.unnamed) for said in found if said.unnamed and not said.wrong]
    assert not unnamed, f"octets without a name: {unnamed}"
    return len(sent)
