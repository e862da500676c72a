"""A peer that the test speaks for, and its device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.peer import Device, SipPeer


@pytest.fixture
def bob_peer(kamailio: Kamailio) -> Iterator[SipPeer]:
    """A hand-written bob behind the proxy, who can answer as several devices."""
    with SipPeer("bob") as peer:
        kamailio.bind("bob", peer.contact)
        yield peer


@pytest.fixture
def device(network: Namespace, kms: Kms) -> Iterator[Device]:
    """A device of bob's."""
    made = Device(kms, "bob", "desk")
    yield made
    made.close()
