"""`PrivateCertificate` under the real engine: keys never in clear, whatever is done to it; the authority outlives other names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import Program

pytestmark = pytest.mark.engine

PROGRAM = """
import pulumi
from host.resources import HostProvider, PrivateCertificate

ssh = HostProvider("ssh", contact="never")
made = PrivateCertificate("tls", tuple(config["names"]), ("10.0.0.200",), pulumi.ResourceOptions(provider=ssh))
pulumi.export("ingressCa", made.authority)
pulumi.export("certificate", made.certificate)
pulumi.export("key", made.private_key)
pulumi.export("authorityKey", made.authority_key)
"""
KEYS = ("key", "authorityKey")


def test_no_key_is_ever_in_clear_and_the_authority_stays(tmp_path: Path) -> None:
    program = Program(tmp_path / "program", PROGRAM, {"names": ["a.example.com"]})
    said = [program.preview().output, program.up().output]
    first = program.outputs()
    assert first["ingressCa"].startswith("-----BEGIN CERTIFICATE-----")
    program.preview("--expect-no-changes")
    said.append(program.run("refresh", "--yes", "--diff", "--stack", "test", check=True).output)
    program.preview("--expect-no-changes")

    program.config["names"] = ["b.example.com"]
    planned = program.preview("--diff").output
    assert "a new certificate for other names, of the same authority" in planned
    said += [planned, program.up("--diff").output]
    second = program.outputs()
    assert [second[name] == first[name] for name in ("ingressCa", "authorityKey")] == [True, True]
    assert [second[name] == first[name] for name in ("certificate", "key")] == [False, False]
    said.append(program.run("refresh", "--yes", "--diff", "--stack", "test", check=True).output)
    program.preview("--expect-no-changes")
    program.write(PROGRAM.replace("pulumi.export", "pulumi.log.info(repr(made.urn)); pulumi.export"))
    program.up("--diff")
    said.append(program.run("stack", "output", "--stack", "test", check=True).output)

    # After a leak: another authority, on demand.
    program.up("--replace", "urn:pulumi:test::engine-test::host:index:PrivateCertificate::tls")
    third = program.outputs()
    assert [third[name] == second[name] for name in ("ingressCa", *KEYS)] == [False] * 3

    # The state with every earlier one of it that the engine keeps, and all that an operator saw.
    files = [each for each in (tmp_path / "program").rglob("*") if each.is_file()]
    assert any("history" in str(each) for each in files)
    places = [each.read_text(errors="replace") for each in files] + said
    lines = [outputs[key].splitlines()[1] for outputs in (first, second, third) for key in KEYS]
    assert [line for line in lines for place in places if line in place] == []
    assert first["ingressCa"].splitlines()[1] in "".join(said), "what is public is shown"
