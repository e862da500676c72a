"""Dashboard and alerts ask for metrics and labels that the KMS has."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kms.http.serving import ALICE, BOB, Site, serving

DEPLOYMENT = Path(__file__).parents[3] / "examples" / "deployment"
METRIC = re.compile(r"sipmikey_kms_[a-z_]+")
SELECTOR = re.compile(r"(sipmikey_kms_[a-z_]+)\{([^}]*)\}")
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOYMENT / "grafana-dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [variable["query"] for variable in dashboard["templating"]["list"]]
    rules = (DEPLOYMENT / "prometheus-rules.yml").read_text()
    alerts = re.findall(r"expr: (?:>\n)?(.*?)\n +(?:for|annotations):", rules, re.DOTALL)
    assert len(alerts) == rules.count("- alert:")
    return [*panels, *alerts, *(query for query in queries if "sipmikey" in query)]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The metrics of a KMS that was asked for this and that, each with its labels."""
    site = Site(tmp_path_factory.mktemp("kms") / "site")
    alice = site.add(ALICE)
    site.add(BOB)
    with serving(site, "--metrics", "127.0.0.1:0") as service:
        service.post(alice.request(BOB).message)
        service.post(b"", headers={"Content-Type": "text/plain"})
        service.post(b"{}", path="/enrolment", headers={"Content-Type": "application/json"})
        assert service.metrics_url is not None
        with urllib.request.urlopen(service.metrics_url, timeout=10) as response:
            text = response.read().decode()
    found: dict[str, set[str]] = {"sipmikey_kms_forwards_total": {"result"}}  # counted with other KMSs only
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_there(expression: str, exposed: dict[str, set[str]]) -> None:
    asked = set(METRIC.findall(expression))
    assert asked
    assert asked <= exposed.keys()
    for name, selector in SELECTOR.findall(expression):
        labels = set(re.findall(r"(\w+)(?==~|!~|=|!=)", selector))
        assert labels <= exposed[name] | SCRAPED, (name, labels)
    for grouping in re.findall(r"by \(([^)]*)\)", expression):
        labels = {label.strip() for label in grouping.split(",")} - SCRAPED
        assert labels <= set().union(*(exposed[name] for name in asked)), labels


def test_every_metric_of_ours_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = {name for expression in expressions() for name in METRIC.findall(expression)}
    ours = {name for name in exposed if not name.endswith(("_created", "_count", "_sum"))}
    assert ours <= shown


def test_panels_have_titles_words_and_places_of_their_own() -> None:
    panels = json.loads((DEPLOYMENT / "grafana-dashboard.json").read_text())["panels"]
    assert all(panel["title"] and panel["description"] for panel in panels)
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places)), "two panels overlap"
    assert len({panel["id"] for panel in panels}) == len(panels)
