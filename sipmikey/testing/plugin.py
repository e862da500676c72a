"""The pytest plugin: fixtures for calls between agents, and what is kept of a test that fails.

Switch it on with `-p sipmikey.testing.plugin` or `pytest_plugins = ["sipmikey.testing.plugin"]`.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Generator, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from sipmikey.testing.agents import AgentPool, TestAgent
from sipmikey.testing.determinism import FakeClock, seeded_environment
from sipmikey.testing.external import DOMAIN, Own, OwnKms, PhoneUnderTest, read_users
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.kms import IDENTITY, TestKms
from sipmikey.testing.mailbox import TestMailbox
from sipmikey.testing.stage import Stage
from sipmikey.testing.switchboard import Switchboard
from sipmikey.ticket.environment import Environment

__all__ = [
    "agent_pool",
    "alice",
    "bob",
    "call_stage",
    "carol",
    "environment",
    "fake_clock",
    "forking_proxy",
    "kms",
    "kms_server",
    "mailbox",
    "own",
    "phone_under_test",
    "pytest_addoption",
    "pytest_runtest_makereport",
    "switchboard",
    "voices",
    "words",
]

FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("sipmikey", "calls between SIP agents")
    group.addoption(
        "--call-artifacts",
        metavar="DIR",
        default="call-artifacts",
        help="where captures, ladders, events, logs and recordings of failed tests are kept",
    )
    group.addoption("--no-call-capture", action="store_true", help="do not capture packets during tests")
    shared = "let agents that neither play nor record serve test after test: a test takes well under a second"
    group.addoption("--shared-agents", action="store_true", help=shared)
    parser.addini("shared_agents", shared, type="bool", default=False)
    group.addoption(
        "--call-domain", metavar="DOMAIN", default=DOMAIN, help=f"domain of the agents [{DOMAIN}]"
    )
    group.addoption(
        "--call-bind", metavar="ADDRESS", default="127.0.0.1", help="address of the agents [127.0.0.1]"
    )
    group.addoption("--call-proxy", metavar="URI", help="a SIP proxy of your own: agents register with it")
    group.addoption("--call-kms", metavar="URL", help="a KMS of your own; needs --call-users")
    group.addoption("--call-kms-identity", metavar="URI", default=IDENTITY, help=f"its identity [{IDENTITY}]")
    group.addoption(
        "--call-users", metavar="FILE", type=Path,
        help="TOML: a table for each identity with psk_id, psk_file, and for the proxy username, password",
    )  # fmt: skip
    group.addoption("--call-phone", metavar="URI", help="the SIP identity of a phone of your own to test")
    group.addoption("--call-phone-via", metavar="URI", help="where the phone is, if no proxy knows")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test failed, for `call_stage` to keep what there is of it, and show its ladder."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        stage = getattr(item, "funcargs", {}).get("call_stage")
        if report.when == "call" and isinstance(stage, Stage):
            where = kept_in(item.config, item.nodeid)
            report.sections.append(("sipmikey", f"kept in {where}\n\n{stage.ladder()}"))
    return report


def kept_in(config: pytest.Config, test: str) -> Path:
    """Return the directory in which what a test leaves is kept."""
    return Path(config.getoption("--call-artifacts", default="call-artifacts")) / re.sub(
        r"[^\w.-]+", "-", test
    )


@pytest.fixture(scope="session")
def own(request: pytest.FixtureRequest) -> Own:
    """What is not the kit's: domain, address and proxy, as the options say."""
    option = request.config.getoption
    users: Path | None = option("--call-users", default=None)
    return Own(
        domain=option("--call-domain", default=DOMAIN),
        bind=option("--call-bind", default="127.0.0.1"),
        proxy=option("--call-proxy", default=None),
        digest={} if users is None else read_users(users)[1],
        direct=bool(option("--call-phone-via", default=None)),
    )


@pytest.fixture(scope="session")
def phone_under_test(request: pytest.FixtureRequest) -> PhoneUnderTest:
    """The phone that `--call-phone` names; a test that wants it is skipped without."""
    uri = request.config.getoption("--call-phone", default=None)
    if not uri:
        pytest.skip("no phone to test: --call-phone URI")
    return PhoneUnderTest(uri=uri, via=request.config.getoption("--call-phone-via", default=None))


@pytest.fixture(scope="session")
def agent_pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentPool | None]:
    """Agents that serve test after test, where `--shared-agents` or the setting `shared_agents` says so."""
    config = request.config
    if not (config.getoption("--shared-agents", default=False) or _shared_by_file(config)):
        yield None
        return
    pool = AgentPool(tmp_path_factory.mktemp("agents"))
    pool.start()
    yield pool
    pool.stop()


def _shared_by_file(config: pytest.Config) -> bool:
    try:
        return bool(config.getini("shared_agents"))
    except ValueError:  # the fixtures are imported, and the plugin is not switched on
        return False


@pytest.fixture(scope="session")
def kms_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestKms | OwnKms]:
    """A key management service, one for the run (or for each process of a parallel one), or your own."""
    option = request.config.getoption
    if url := option("--call-kms", default=None):
        users: Path | None = option("--call-users", default=None)
        if users is None:
            raise pytest.UsageError("--call-kms needs --call-users FILE: who the agents are at your KMS")
        yield OwnKms(url, read_users(users)[0], identity=option("--call-kms-identity", default=IDENTITY))
        return
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kms(kms_server: TestKms | OwnKms) -> Iterator[TestKms | OwnKms]:
    """The key management service, neither slow nor shut at the start of each test."""
    kms_server.delay(0)
    kms_server.shut(False)
    yield kms_server
    kms_server.delay(0)
    kms_server.shut(False)
    kms_server.seal_all()


@pytest.fixture(scope="session")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestMailbox]:
    """A mailbox for messages, one for the run; it is made when the first one is left."""
    served = TestMailbox(tmp_path_factory.mktemp("mailbox"))
    yield served
    served.stop()


@pytest.fixture
def call_stage(
    request: pytest.FixtureRequest,
    kms: TestKms | OwnKms,
    agent_pool: AgentPool | None,
    own: Own,
    tmp_path: Path,
) -> Iterator[Stage]:
    """What the calls of a test run on. At its end agents are stopped, and what failed is kept.

    An agent whose process died fails the test with the reason.
    """
    capture = not request.config.getoption("--no-call-capture", default=False)
    try:
        mailbox = request.getfixturevalue("mailbox")
    except pytest.FixtureLookupError:  # fixtures are imported one by one, and this one is not
        mailbox = None
    stage = Stage(tmp_path, kms, capture=capture, pool=agent_pool, own=own, mailbox=mailbox)
    stage.start()
    try:
        yield stage
    finally:
        crashes = stage.stop()
        failed = request.node.stash.get(FAILED, False)
        if failed or crashes:
            stage.keep(kept_in(request.config, request.node.nodeid))
    if crashes and not failed:
        pytest.fail("\n\n".join(crashes), pytrace=False)


@pytest.fixture
def switchboard(call_stage: Stage) -> Switchboard:
    """The SIP proxy all agents use: it forks, and misbehaves on demand."""
    return call_stage.switchboard


@pytest.fixture
def forking_proxy(tmp_path: Path) -> Iterator[Kamailio]:
    """Kamailio as registrar and forking proxy; agents take its ``uri`` as ``proxy`` and ``registrar``.

    The switchboard forks as well and needs nothing installed; this is a proxy of others.
    """
    if not Kamailio.installed():
        pytest.skip("Kamailio is not installed: apt-get install kamailio")
    with Kamailio(tmp_path / "kamailio") as proxy:
        yield proxy


@pytest.fixture
def alice(call_stage: Stage) -> TestAgent:
    """The agent of sip:alice@example.com."""
    return call_stage.agent("alice")


@pytest.fixture
def bob(call_stage: Stage) -> TestAgent:
    """The agent of sip:bob@example.com."""
    return call_stage.agent("bob")


@pytest.fixture
def carol(call_stage: Stage) -> TestAgent:
    """The agent of sip:carol@example.com."""
    return call_stage.agent("carol")


@pytest.fixture(scope="session")
def voices() -> dict[str, Path]:
    """Sentences to say, as WAV files of six seconds: `alice` and `bob`."""
    assets = Path(str(files("sipmikey.cli"))) / "assets"
    return {name: assets / f"{name}.wav" for name in ("alice", "bob")}


@pytest.fixture(scope="session")
def words(voices: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first second and a half of the voices, as WAV files: for what is said at the speed of speech."""
    folder = tmp_path_factory.mktemp("words")
    for name, voice in voices.items():
        with wave.open(str(voice)) as whole, wave.open(str(folder / f"{name}.wav"), "wb") as word:
            word.setparams(whole.getparams())
            word.writeframes(whole.readframes(whole.getframerate() * 3 // 2))
    return {name: folder / f"{name}.wav" for name in voices}


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that moves when told to."""
    return FakeClock()


@pytest.fixture
def environment(fake_clock: FakeClock) -> Environment:
    """An environment for the core with the fake clock and seeded randomness."""
    return seeded_environment(1, fake_clock)
