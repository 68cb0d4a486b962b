"""What Trivy reports, from its files to Prometheus: the programs of the image as processes, against a fake API over TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cache_processes import IMAGE, wait_until
from tests.support.chat_processes import Process, fetch, free_port
from tests.support.fake_api import FakeApi

PLACE = "namespaces/observability/configmaps/image-scan-results"
REFERENCES = {"redis": "docker.io/library/redis:7.0", "traefik": "docker.io/library/traefik:v3"}


def vulnerability(number: int, severity: str, *, fixed: str = "", package: str = "openssl") -> dict[str, Any]:
    """As Trivy 0.74 writes it; without a fixed version the field is absent."""
    found = {
        "VulnerabilityID": f"CVE-2026-{number:04}",
        "PkgName": package,
        "InstalledVersion": "1.0-1",
        "Severity": severity,
        "Status": "fixed" if fixed else "affected",
    }
    return found | ({"FixedVersion": fixed} if fixed else {})


def report(name: str, *results: list[dict[str, Any]]) -> dict[str, Any]:
    """Trivy leaves `Vulnerabilities` out of a result that has none, and `Results` out of an image without packages."""
    found = [{"Target": "debian", "Class": "os-pkgs", "Vulnerabilities": each} for each in results if each]
    return {
        "SchemaVersion": 2,
        "ArtifactName": REFERENCES.get(name, name),
        "ArtifactType": "container_image",
        "Metadata": {"RepoDigests": [f"{name}@sha256:{'ab' * 32}"]},
        **({"Results": [*found, {"Target": "app", "Class": "lang-pkgs"}]} if found else {}),
    }


class Place:
    """A fake API, a list of images and a folder of reports."""

    def __init__(self, folder: Path, api: FakeApi) -> None:
        self.api, self.images, self.reports = api, folder / "images", folder / "reports"
        self.reports.mkdir()
        self.listed(REFERENCES)

    def listed(self, references: Mapping[str, str]) -> None:
        self.images.write_text("".join(f"{name} {reference}\n" for name, reference in references.items()))

    def reported(self, name: str, text: str) -> None:
        (self.reports / f"{name}.json").write_text(text)

    def publish(self) -> subprocess.CompletedProcess[str]:
        where = [f"--api={self.api.url}", f"--credentials={self.api.credentials}"]
        what = [f"--reports={self.reports}", "--config-map=observability/image-scan-results"]
        command = [sys.executable, "-m", "image_scan", f"--images={self.images}", "publish", *what, *where]
        return subprocess.run(command, env={"PYTHONPATH": str(IMAGE)}, capture_output=True, text=True, timeout=120)

    def kept(self) -> dict[str, Any]:
        return {key: json.loads(value) for key, value in self.api.config_maps[PLACE].items()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with FakeApi(tmp_path / "credentials") as api:
        api.config_maps[PLACE] = {}
        yield Place(tmp_path, api)


def test_counts_and_the_worst_are_kept(place: Place) -> None:
    several = [
        vulnerability(1, "HIGH", fixed="1.0-3"),
        vulnerability(2, "CRITICAL", fixed="1.0-2"),
        vulnerability(3, "CRITICAL"),
        vulnerability(4, "MODERATE"),
    ]
    again = [
        vulnerability(2, "CRITICAL", fixed="1.0-2"),
        vulnerability(2, "CRITICAL", fixed="1.0-2", package="libssl3"),
    ]
    place.reported("redis", json.dumps(report("redis", several, again)))
    place.reported("traefik", json.dumps(report("traefik")))
    done = place.publish()
    assert done.returncode == 0, done.stderr
    kept = place.kept()
    assert kept["redis.json"]["counts"] == {
        "CRITICAL": [2, 1],
        "HIGH": [1, 0],
        "MEDIUM": [0, 0],
        "LOW": [0, 0],
        "UNKNOWN": [0, 1],
    }
    assert kept["redis.json"]["fixable"] == [
        "CVE-2026-0002 CRITICAL libssl3 1.0-1 -> 1.0-2",
        "CVE-2026-0002 CRITICAL openssl 1.0-1 -> 1.0-2",
        "CVE-2026-0001 HIGH openssl 1.0-1 -> 1.0-3",
    ]
    assert kept["traefik.json"]["counts"]["CRITICAL"] == [0, 0]
    assert kept["redis.json"]["scanned"] == int((place.reports / "redis.json").stat().st_mtime)


def test_thirty_bad_images_fit_into_a_config_map(place: Place) -> None:
    names = [f"image-{number}" for number in range(30)]
    place.listed({name: name for name in names})
    bad = [vulnerability(number, "CRITICAL", fixed="1:1.2.3-4+deb12u5") for number in range(3000)]
    for name in names:
        place.reported(name, json.dumps(report(name, bad)))
    assert place.publish().returncode == 0
    assert {each["counts"]["CRITICAL"][0] for each in place.kept().values()} == {3000}
    assert sum(len(value) for value in place.api.config_maps[PLACE].values()) < 300_000  # of 1 MiB


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"SchemaVersion": 3}', '{"SchemaVersion": 2}', None])
def test_an_image_that_was_not_scanned_keeps_its_last_result(place: Place, broken: str | None) -> None:
    place.reported("redis", json.dumps(report("redis", [vulnerability(1, "CRITICAL", fixed="2")])))
    place.reported("traefik", json.dumps(report("traefik")))
    place.publish()
    before = place.kept()["redis.json"]
    (place.reports / "redis.json").unlink()
    if broken is not None:
        place.reported("redis", broken)
    done = place.publish()
    assert done.returncode == 0
    assert "redis: " in done.stderr
    assert place.kept()["redis.json"] == before


def test_a_former_image_is_forgotten(place: Place) -> None:
    place.reported("redis", json.dumps(report("redis")))
    place.reported("traefik", json.dumps(report("traefik")))
    place.publish()
    place.listed({"redis": REFERENCES["redis"]})
    place.publish()
    assert set(place.kept()) == {"redis.json"}


def test_without_the_api_nothing_is_kept_and_the_job_fails(place: Place) -> None:
    place.reported("redis", json.dumps(report("redis")))
    place.api.down()
    done = place.publish()
    assert done.returncode == 1
    assert PLACE in done.stderr
    place.api.up()
    del place.api.config_maps[PLACE]
    assert place.publish().returncode == 1


class Exporter(Process):
    def __init__(self, images: Path, results: Path) -> None:
        super().__init__("image-scan", free_port())
        self._images, self._results = images, results

    def command(self) -> list[str]:
        where = [f"--images={self._images}", "serve", f"--results={self._results}", f"--port={self.port}"]
        return [sys.executable, "-m", "image_scan", *where]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(IMAGE), "PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        return "showing" in self.output()

    def metrics(self) -> dict[str, float]:
        status, body = fetch(f"http://127.0.0.1:{self.port}/metrics")
        assert status == 200
        lines = [line.rpartition(" ") for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}


def since(image: str) -> str:
    return f'image_scan_waiting_since_timestamp_seconds{{image="{image}"}}'


def count(image: str, severity: str, fixable: str) -> str:
    return f'image_vulnerabilities{{fixable="{fixable}",image="{image}",severity="{severity}"}}'


def test_prometheus_sees_the_last_results(place: Place, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    place.reported("redis", json.dumps(report("redis", [vulnerability(1, "CRITICAL", fixed="2")])))
    place.publish()
    with Exporter(place.images, results) as exporter:
        wait_until(exporter.answers, "showing", [exporter])
        first = exporter.metrics()
        assert not [name for name in first if name.startswith("image_vulnerabilities")]
        assert first[since("redis")] == first[since("traefik")] > 0
        # As the kubelet does it: what is mounted changes while the pod runs.
        for key, value in place.api.config_maps[PLACE].items():
            (results / key).write_text(value)
        (results / "traefik.json").write_text("half a fi")
        later = exporter.metrics()
        assert later[count("redis", "CRITICAL", "true")] == 1
        assert later[count("redis", "CRITICAL", "false")] == 0
        assert later[since("redis")] == place.kept()["redis.json"]["scanned"]
        assert later[since("traefik")] == first[since("traefik")]
        assert count("traefik", "CRITICAL", "true") not in later


def test_what_was_found_in_another_tag_is_not_said_of_this_one(place: Place, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    place.reported("redis", json.dumps(report("redis", [vulnerability(1, "CRITICAL", fixed="2")])))
    place.publish()
    for key, value in place.api.config_maps[PLACE].items():
        (results / key).write_text(value)
    place.listed(REFERENCES | {"redis": "docker.io/library/redis:7.4"})
    with Exporter(place.images, results) as exporter:
        wait_until(exporter.answers, "showing", [exporter])
        seen = exporter.metrics()
        assert count("redis", "CRITICAL", "true") not in seen
        assert seen[since("redis")] > place.kept()["redis.json"]["scanned"] - 1
