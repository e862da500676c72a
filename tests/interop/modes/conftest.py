"""The proxy and the KMS that the tests of all modes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sipmikey.testing.door import Door
from tests.interop.lab import programs
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.namespace import Namespace
from tests.interop.modes.grounds import Grounds, prepare


@pytest.fixture(scope="session")
def shared_grounds(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    programs.need("kamailio")
    folder = tmp_path_factory.mktemp("modes")
    kms, shared = prepare(folder)
    with ExitStack() as running:
        # Started inside; other tests may run in between.
        with namespace:
            # Beside the proxy that other tests have for themselves.
            proxy = running.enter_context(Kamailio(folder / "kamailio", port=5070, tls_port=5071))
            running.enter_context(kms)
            door = Door(int(kms.url.rpartition(":")[2]))
            door.start()
        running.callback(door.stop)
        yield Grounds(folder=folder, kamailio=proxy, kms=kms, door=door, shared=shared)


@pytest.fixture
def grounds(shared_grounds: Grounds, network: Namespace) -> Iterator[Grounds]:
    """What is shared, with nobody registered at the end and the KMS there again."""
    yield shared_grounds
    shared_grounds.door.shut = False
    for user in ("alice", "bob", "carol"):
        if shared_grounds.kamailio.contacts(user):
            shared_grounds.kamailio.command("ul.rm", "location", user)
