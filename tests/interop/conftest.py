"""Fixtures of the interop lab: a private network, a proxy, a capture, speech to send."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab import agents, programs
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms
from tests.interop.lab.namespace import Namespace, NotPermitted
from tests.interop.lab.packets.capture import Capture, recording
from tests.interop.lab.rtpengine import Rtpengine
from tests.interop.lab.speech import write_speech
from tests.key_stream import KeyStream
from tests.wireshark.agreement import check_dissector

HERE = Path(__file__).parent
IT_SUPPORT = "sip:it-support@example.test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """A network of our own: no port is taken, nothing gets out, and captures see this test run only."""
    try:
        made = Namespace()
    except NotPermitted as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def network(namespace: Namespace) -> Iterator[Namespace]:
    """Run the test, and every process it starts, inside the private network."""
    with namespace:
        yield namespace


@pytest.fixture
def need_program() -> programs.Need:
    """`need_program("sipp")` skips the test (fails it in CI) where the program is absent."""
    return programs.need


@pytest.fixture
def kamailio(network: Namespace, tmp_path: Path) -> Iterator[Kamailio]:
    """A fresh registrar and forking proxy, digest authentication on."""
    programs.need("kamailio")
    with Kamailio(tmp_path / "kamailio") as proxy:
        yield proxy


@pytest.fixture
def relayed(network: Namespace, tmp_path: Path) -> Iterator[tuple[Kamailio, Rtpengine]]:
    """A proxy that leads media through rtpengine, told to add no keying of its own."""
    with (
        Rtpengine() as engine,
        Kamailio(tmp_path / "kamailio", rtpengine_port=engine.control_port) as proxy,
    ):
        yield proxy, engine


@pytest.fixture(scope="session")
def kms(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    """A KMS that serves the whole run: alice, bob, carol and dave, and it-support, whose member is carol."""
    made = Kms(tmp_path_factory.mktemp("kms") / "kms")
    for user in ("alice", "bob", "dave"):
        made.add_user(user)
    made.add_user("carol", "--group", IT_SUPPORT)
    with contextlib.ExitStack() as running:
        # Started inside; the tests of other rooms that this process runs stay outside.
        with namespace:
            running.enter_context(made)
        yield made


@pytest.fixture
def kms6(network: Namespace, tmp_path: Path) -> Iterator[Kms]:
    """A KMS on ::1 that knows alice and bob."""
    made = Kms(tmp_path / "kms6", host="::1")
    for user in ("alice", "bob"):
        made.add_user(user)
    with made:
        yield made


@pytest.fixture
def capture(network: Namespace, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Capture]:
    """Everything on the private network's loopback, from before the test's first packet."""
    programs.need("tcpdump")
    programs.need("tshark")
    with recording(tmp_path / "test.pcap") as running:
        yield running
    check_dissector(running.path)
    check_key_stream(running.path, request)
    if (folder := request.config.getoption("--ladders")) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w]+", "-", request.node.name).strip("-")
        (folder / f"{name}.txt").write_text(running.ladder())


def check_key_stream(path: Path, request: pytest.FixtureRequest) -> None:
    """No key stream of the agents' keys, or of keys in descriptions, was used twice."""
    found = KeyStream()
    for event in (event for seen in agents.told for event in seen if event["type"] == "kit.srtp_keys"):
        for way in ("send", "receive"):
            found.add_key(event["suite"], bytes.fromhex(event[way]))
    found.add_crypto_lines(path.read_bytes())
    if found.keys:
        found.take_capture(path)
    request.node.user_properties.append(("key stream", str(found)))
    assert found.repeated == []


@pytest.fixture(autouse=True)
def forget_keys() -> None:
    """Know the keys of this test's agents only."""
    agents.told.clear()


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of 2 s that sounds like speech to a codec and correlates with nothing but itself."""
    path = tmp_path_factory.mktemp("speech") / "alice.wav"
    write_speech(path, seconds=2.0, seed=1)
    return path


@pytest.fixture(scope="session")
def other_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of another voice: what bob says."""
    path = tmp_path_factory.mktemp("speech") / "bob.wav"
    write_speech(path, seconds=2.0, seed=2)
    return path
