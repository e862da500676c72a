"""Fixtures: the laboratory with its registrar, TURN server and KMS."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab import programs
from tests.interop.lab.agents import Agent, settings
from tests.nat.laboratory import (
    HOSTS,
    OUTSIDE,
    Laboratory,
    OutsideKms,
    entered,
    registrar,
    turn_server,
)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """The networks, with everything outside running."""
    for program in ("kamailio", "turnserver", "nft", "ip"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            programs.need(program)
    if os.geteuid() != 0:
        pytest.skip("the laboratory needs root: run the tests as root (sudo make test)")
    folder = tmp_path_factory.mktemp("nat")
    with contextlib.ExitStack() as running:
        made = running.enter_context(Laboratory())
        running.callback(turn_server(made, folder / "turn").stop)
        running.callback(registrar(made, folder / "kamailio").stop)
        yield made


@pytest.fixture(scope="session")
def kms(laboratory: Laboratory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutsideKms]:
    """A KMS outside that knows alice and bob."""
    made = OutsideKms(laboratory, tmp_path_factory.mktemp("kms") / "kms")
    for user in ("alice", "bob"):
        made.add_user(user)
    with made:
        yield made


NewAgent = Callable[..., Agent]


@pytest.fixture
def agent(laboratory: Laboratory, kms: OutsideKms) -> Iterator[NewAgent]:
    """`agent("alice", "a", stun=...)` starts and registers alice in the network of that side."""
    with contextlib.ExitStack() as running:

        def start(
            name: str,
            side: str,
            *,
            bind: str = "",
            incoming: str = "answer",
            silence: float = 5.0,
            **nat: Any,
        ) -> Agent:
            sip = {
                "bind": bind or HOSTS[side],
                "proxy": f"sip:{OUTSIDE}:5060;transport=tcp;lr",
                "registrar": "sip:example.test",
            }
            with entered(laboratory.name(side)):
                made = running.enter_context(
                    Agent(
                        name,
                        settings(
                            name,
                            kms,
                            sip=sip,
                            nat=nat,
                            incoming=incoming,
                            plain_kms=True,
                            timeouts={"media": 8.0, "silence": silence},
                        ),
                    )
                )
            made.do("register")
            return made

        yield start
