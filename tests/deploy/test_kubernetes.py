"""Check the manifests, also against the schemas of Kubernetes. Nothing is applied."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokensieve.server.config import Limits, ServerConfig

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "kubernetes"
MANIFESTS: dict[str, dict[str, Any]] = {
    tree["kind"]: tree
    for tree in (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml")))
    if tree["kind"] != "Kustomization"
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(SERVER,) = POD["containers"]


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifest_matches_its_schema(kind: str) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    # Every field must exist in the oldest and the newest release.
    for version in ("1.29", "1.37"):
        kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


def test_schemas_refuse_an_unknown_field() -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    wrong = json.loads(json.dumps(MANIFESTS["Deployment"]))
    wrong["spec"]["template"]["spec"]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_kustomize_builds_all_manifests() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True)
    assert {tree["kind"] for tree in yaml.safe_load_all(done.stdout)} == set(MANIFESTS)


def test_pod_has_no_unneeded_permissions() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert SERVER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert SERVER["resources"].keys() == {"requests", "limits"}


def test_pod_has_memory_for_the_worst_case_and_time_to_stop() -> None:
    """The figures are those of docs/how-to/containers.md, for the default limits."""
    assert (Limits().max_held, Limits().max_connections, Limits().max_body) == (16 * 2**20, 512, 2**20)
    assert SERVER["resources"]["limits"]["memory"] == "1Gi"
    stops = int(SERVER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert stops + ServerConfig().grace + 10 <= POD["terminationGracePeriodSeconds"]


def test_writable_paths_are_volumes() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    mounts = {mount["mountPath"]: mount["name"] for mount in SERVER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert dockerfile.split("WORKDIR ")[-1].splitlines()[0] in mounts
    assert set(mounts.values()) == set(volumes)
    for path in ("/var/lib/tokensieve", "/tmp"):
        assert "sizeLimit" in volumes[mounts[path]]["emptyDir"]
    assert str(POD["securityContext"]["runAsUser"]) == dockerfile.split("USER ")[-1].splitlines()[0]


def test_api_key_is_a_file_of_a_secret() -> None:
    path = Path(SERVER["args"][SERVER["args"].index("--api-key-file") + 1])
    (mount,) = (mount for mount in SERVER["volumeMounts"] if mount["mountPath"] == str(path.parent))
    (volume,) = (volume for volume in POD["volumes"] if volume["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "tokensieve"
    assert path.name == "api-key"  # as created by the command in the kustomization
    assert f"--from-literal={path.name}=" in (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")


def test_selectors_and_ports_match() -> None:
    (port,) = SERVER["ports"]
    probes = {name: SERVER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/ready",
        "readiness": "/ready",
        "liveness": "/health",
    }
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    template = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]
    labels = template["labels"]
    selectors = [
        MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    assert (
        MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == MANIFESTS["Deployment"]["metadata"]["name"]
    )


def test_documented_pod_monitor_sends_the_api_key() -> None:
    text = (FOLDER.parents[1] / "docs/how-to/containers.md").read_text(encoding="utf-8")
    (monitor,) = [
        tree
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if (tree := yaml.safe_load(block))["kind"] == "PodMonitor"
    ]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (
        monitor["spec"]["selector"]["matchLabels"]
        == MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    )
    assert (endpoint["port"], endpoint["path"]) == (SERVER["ports"][0]["name"], "/metrics")
    assert endpoint["authorization"]["credentials"] == {"name": "tokensieve", "key": "api-key"}


def test_inference_service_uses_triton() -> None:
    """KServe has no schema to test against. This only detects accidental changes."""
    tree = yaml.safe_load((DEPLOY / "triton" / "inferenceservice.yaml").read_text(encoding="utf-8"))
    assert (tree["apiVersion"], tree["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    model = tree["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "triton"}
    assert model["protocolVersion"] == "v2"
    assert model["storageUri"].startswith("pvc://")
