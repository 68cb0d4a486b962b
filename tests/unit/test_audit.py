"""What an audit lets through: exactly what an exception names, and no exception without a finding."""

from __future__ import annotations

from typing import Any

import yaml

from tests.audit.checkov import EXCEPTIONS, judge


def report(*found: tuple[str, str]) -> dict[str, Any]:
    failed = [{"check_id": check, "resource": resource, "check_name": "words"} for check, resource in found]
    return {"results": {"failed_checks": failed}}


FLANNEL = {"check": "CKV_K8S_20", "resources": r"DaemonSet\.kube-flannel\..+", "reason": "why"}


def test_only_what_an_exception_names_is_let_through() -> None:
    found = report(("CKV_K8S_20", "DaemonSet.kube-flannel.ds"), ("CKV_K8S_20", "Deployment.default.x"))
    assert judge(found, [FLANNEL]) == ["CKV_K8S_20 Deployment.default.x: words"]
    assert judge(report(("CKV_K8S_22", "DaemonSet.kube-flannel.ds")), [])


def test_an_exception_that_nothing_needs_is_said() -> None:
    assert "nothing needs it any longer" in judge(report(), [FLANNEL])[0]


def test_each_exception_has_a_reason() -> None:
    known = yaml.safe_load(EXCEPTIONS.read_text())
    assert all(set(each) == {"check", "resources", "reason"} and each["reason"] for each in known)
