"""`ServingCertificate` under the real engine: made once, its key never in clear, made again for other names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import Program

pytestmark = pytest.mark.engine

PROGRAM = """
import pulumi
from host.resources import HostProvider, ServingCertificate

ssh = HostProvider("ssh", contact="never")
made = ServingCertificate("certificate", tuple(config["names"]), pulumi.ResourceOptions(provider=ssh))
pulumi.export("certificate", made.certificate)
pulumi.export("key", made.private_key)
"""


def test_it_is_made_once_and_again_for_other_names(tmp_path: Path) -> None:
    program = Program(tmp_path / "program", PROGRAM, {"names": ["a.b.svc"]})
    program.preview()
    program.up()
    first = program.outputs()
    assert first["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    key = first["key"].splitlines()[1]
    assert "PRIVATE KEY" in first["key"]
    assert key not in program.state()
    program.preview("--expect-no-changes")
    program.run("refresh", "--yes", "--stack", "test", check=True)
    program.preview("--expect-no-changes")

    program.config["names"] = ["c.d.svc"]
    assert "names" in program.preview().output
    program.up()
    second = program.outputs()
    assert second["key"] != first["key"]
    assert second["certificate"] != first["certificate"]
    program.preview("--expect-no-changes")
