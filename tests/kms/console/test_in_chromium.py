"""The console in Chromium: a tour, its pictures, and what axe-core finds on each page.

``SIPMIKEY_PICTURES=DIR`` keeps the pictures (docs/kms/pictures has those of the last tour).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kms.console.test_served import console_site
from tests.kms.http.serving import ALICE, BOB, Site, command, serving
from tests.kms.organisation.provider import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium")
PAGES = ("health", "users", "devices", "groups", "invitations", "policy", "ticket keys", "audit log")

AXE = FOLDER / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""Where tools/install-peers puts it."""

RULES = """async (kinds) => {
  const found = await axe.run({preload: false, resultTypes: kinds});
  const told = kinds.flatMap(kind => found[kind]).flatMap(
    rule => rule.nodes.map(node => `${rule.id}: ${node.target}: ${node.failureSummary}`));
  if (document.documentElement.scrollWidth > innerWidth) told.push('wider than the window');
  return [found.passes.length, told];
}"""
"""What axe asks of a page (WCAG 2 and good practice), and that nobody scrolls sideways."""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Page, Site, list[str]]]:
    """A browser at the console with Ann's certificate, and what it complained of or asked of other hosts."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run tools/install-peers")
    site, _ = console_site(tmp_path)
    site.add(BOB)
    at = ("--dir", site.directory)
    command("group", "add", *at, "sip:support@example.com", ALICE, "sip:*@support.example.com")
    command("tpk", "rotate", *at)
    site.configure("enrolment", url="https://kms.example.com")
    with serving(site) as service, api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        url = service.console_url or ""
        context = browser.new_context(
            base_url=url,
            ignore_https_errors=True,
            viewport={"width": 1100, "height": 760},
            client_certificates=[
                {
                    "origin": url,
                    "certPath": str(site.directory / "ann.pem"),
                    "keyPath": str(site.directory / "ann.key"),
                }
            ],
        )
        trouble: list[str] = []
        opened = context.new_page()

        def complained(message: ConsoleMessage) -> None:
            if "Content Security Policy" in message.text:
                trouble.append(message.text)

        opened.on("console", complained)

        def asked(request: Request) -> None:
            if not request.url.startswith(url):
                trouble.append(f"asked {request.url}")

        opened.on("request", asked)
        try:
            yield opened, site, trouble
        finally:
            browser.close()


@pytest.mark.long
@pytest.mark.interop
@pytest.mark.processes
def test_a_tour(page: tuple[Page, Site, list[str]]) -> None:
    shown, _, trouble = page
    kept = os.environ.get("SIPMIKEY_PICTURES")

    def look(name: str, *kinds: str) -> None:
        shown.evaluate(f"{AXE.read_text()}\n;0")
        passed, found = shown.evaluate(RULES, list(kinds or ("violations", "incomplete")))
        assert (found, passed > 10) == ([], True), name
        if kept:
            shown.screenshot(path=f"{kept}/console-{name.replace(' ', '-')}.png")

    shown.goto("/")
    assert shown.url.endswith("/sign-in"), "who is not signed in sees nothing"
    look("sign-in")
    shown.get_by_role("button", name="Sign in with the certificate").click()
    shown.get_by_role("heading", name="Health").wait_for()
    for name in PAGES:
        shown.get_by_role("navigation").get_by_role("link", name=name, exact=False).click()
        shown.get_by_role("heading", level=1).wait_for()
        look(name)
    shown.get_by_role("link", name="Users").click()
    shown.get_by_role("link", name=ALICE).first.click()
    look("user")
    shown.get_by_role("link", name="Invite a device").click()
    shown.get_by_role("button", name="Invite").click()
    shown.get_by_role("heading", name="is invited").wait_for()
    assert shown.locator("svg").count() == 1
    look("invited")
    shown.get_by_role("link", name="Policy").click()
    shown.get_by_label("From").fill(ALICE)
    shown.get_by_label("To").fill(BOB)
    shown.get_by_role("button", name="Explain").click()
    shown.get_by_text("by rule").wait_for()
    look("explained")
    shown.get_by_role("link", name="Audit log").click()
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Export CSV").click()
    assert "invite" in Path(download.value.path()).read_text()
    shown.emulate_media(color_scheme="dark")
    shown.get_by_role("link", name="Users").click()
    look("dark")
    shown.set_viewport_size({"width": 390, "height": 760})
    look("narrow", "violations")  # axe cannot tell the contrast of a cell that a table scrolls out of sight
    shown.emulate_media(color_scheme="light")
    shown.get_by_role("button", name="Sign out").click()
    shown.get_by_role("heading", name="Sign in").wait_for()
    shown.go_back()
    assert shown.get_by_role("heading", name="Sign in").is_visible(), "nothing is kept by the browser"
    assert trouble == []
