"""A changed policy in a running service: from the file at SIGHUP, from the store by itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.kms.http.serving import ALICE, BOB, Service, Site, Subscriber, command, serving

REFUSE = '[[rule]]\nname = "closed"\nfrom = ["*"]\nto = ["*"]\ndecision = "refuse"\n'


def answers(service: Service, alice: Subscriber) -> set[int]:
    return {service.post(alice.request(BOB).message)[0] for _ in range(10)}


def await_answers(service: Service, alice: Subscriber, expected: set[int]) -> None:
    deadline = time.monotonic() + 20
    while answers(service, alice) != expected:
        assert time.monotonic() < deadline


def test_a_policy_file_is_read_again_by_all_workers(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice = site.add(ALICE)
    site.add(BOB)
    policy = site.directory / "policy.toml"
    with serving(site, "--workers", 2) as service:
        assert answers(service, alice) == {200}
        policy.write_text(REFUSE)
        assert answers(service, alice) == {200}
        service.process.send_signal(signal.SIGHUP)
        await_answers(service, alice, {403})
        policy.write_text("[[rule]\n")
        service.process.send_signal(signal.SIGHUP)
        assert service.await_log("reload-failed", count=2)["what"] == "policy"
        assert answers(service, alice) == {403}


def test_a_policy_in_the_store_comes_into_force_by_itself(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    site.configure("policy", source="store")
    command("policy", "put", "--dir", site.directory, site.directory / "policy.toml")
    alice = site.add(ALICE)
    site.add(BOB)
    closed = tmp_path / "closed.toml"
    closed.write_text(REFUSE)
    with serving(site) as service:
        assert answers(service, alice) == {200}
        command("policy", "put", "--dir", site.directory, closed)
        await_answers(service, alice, {403})


def test_a_subscriber_disabled_while_serving_is_refused_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice = site.add(ALICE)
    site.add(BOB)
    with serving(site, "--workers", 2) as service:
        assert answers(service, alice) == {200}
        command("user", "disable", "--dir", site.directory, ALICE)
        assert answers(service, alice) == {401}
        command("user", "enable", "--dir", site.directory, ALICE)
        assert answers(service, alice) == {200}
