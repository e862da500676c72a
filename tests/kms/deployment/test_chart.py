"""The Helm chart: rendered by Helm's own engine, held against Kubernetes' schemas, and against the KMS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.kms.configuration import load

EXAMPLES = Path(__file__).parents[3] / "examples" / "deployment"
KUBERNETES = "1.31"
CONSOLE = {
    "enabled": True,
    "settings": 'oidc_issuer = "https://sso.example.com"\noidc_client_id = "kms"\nauditors = ["a@b.c"]',
}
KINDS = {
    "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy",
    "ServiceMonitor",
}  # fmt: skip
VALUES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, KINDS),
    ({"console": CONSOLE, "otel": {"endpoint": "https://otel.example.com:4318"}}, KINDS),
    ({"autoscaling": {"enabled": False}, "replicas": 5}, KINDS - {"HorizontalPodAutoscaler"}),
    ({"monitoring": {"serviceMonitor": False}}, KINDS - {"ServiceMonitor"}),
    ({"networkPolicy": {"enabled": False}}, KINDS - {"NetworkPolicy"}),
    ({"networkPolicy": {"clients": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}}, KINDS),
    ({"kms": {"settings": "[limits]\naddress_per_second = 50.0\n"}}, KINDS),
    ({"kms": {"masterKey": "wrapped:/run/secrets/master-key/wrapped.toml"}}, KINDS),
]


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the manifests by kind."""
    helm = pytest.importorskip("helm_python")
    yaml = pytest.importorskip("yaml")
    with helm.Chart.load(EXAMPLES / "helm") as chart:
        files = chart.render(values=values, name="test", namespace="kms")
    found: dict[str, dict[str, Any]] = {}
    for text in files.values():
        for document in yaml.safe_load_all(text):
            if document:
                assert document["kind"] not in found
                found[document["kind"]] = document
    return found


@pytest.mark.parametrize(("values", "kinds"), VALUES)
def test_every_manifest_is_one_that_kubernetes_takes(values: dict[str, Any], kinds: set[str]) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    found = rendered(values)
    assert found.keys() == kinds
    for kind, manifest in found.items():
        if kind != "ServiceMonitor":  # a resource of the Prometheus operator: no schema of Kubernetes
            validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize(("values", "kinds"), VALUES)
def test_the_configuration_is_one_that_the_kms_takes(
    tmp_path: Path, values: dict[str, Any], kinds: set[str]
) -> None:
    (tmp_path / "kms.toml").write_text(rendered(values)["ConfigMap"]["data"]["kms.toml"])
    configuration = load(tmp_path)
    assert configuration.policy.source == "store"
    assert configuration.http.metrics_anywhere
    assert bool(configuration.console.listen) is ("console" in values)


def test_the_pod_runs_as_nobody_and_its_ports_are_those_of_the_kms() -> None:
    found = rendered({"console": CONSOLE})
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    (kms,) = pod["containers"]
    assert kms["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    text = found["ConfigMap"]["data"]["kms.toml"]
    served = {int(port) for port in re.findall(r'listen = \[?"0\.0\.0\.0:(\d+)"', text)}
    assert {port["containerPort"] for port in kms["ports"]} == served
    assert kms["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert kms["livenessProbe"]["httpGet"]["path"] == "/health/live"
    named = {port["name"] for port in kms["ports"]}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} == named
    variables = {variable["name"] for variable in kms["env"]}
    assert set(re.findall(r"env:(\w+)", text)) == variables


def test_what_selects_pods_selects_these() -> None:
    found = rendered({})
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selected in (
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selected.items() <= labels.items()
    monitor = found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in found["Service"]["spec"]["ports"]}
    scaled = found["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < scaled["minReplicas"]


def test_the_image_serves_what_the_chart_mounts() -> None:
    text = (EXAMPLES / "Containerfile").read_text()
    assert 'ENTRYPOINT ["sipmikey", "kms"]' in text
    assert "USER 10001:10001" in text
    mounts = rendered({})["Deployment"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert re.findall(r'"--dir", "([^"]+)"', text) == [mounts[0]["mountPath"]]
    extras = re.findall(r"/src\[([\w,]+)\]", text)[0].split(",")
    project = (EXAMPLES.parents[1] / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
