"""The stand-in for the DCGM exporter: values from a file, in the text format that Prometheus reads."""

from __future__ import annotations

import pytest

from lab.dcgm_exporter.exporter import exposition, gpus


def test_use_and_errors_come_from_the_file() -> None:
    text = exposition(gpus("85\n10 79\n"), "gpu-1")
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {key.partition("{")[0] + key[key.index('gpu="') + 5]: value for key, value in samples.items()}
    assert (found["DCGM_FI_DEV_GPU_UTIL0"], found["DCGM_FI_DEV_GPU_UTIL1"]) == ("85", "10")
    assert (found["DCGM_FI_DEV_XID_ERRORS0"], found["DCGM_FI_DEV_XID_ERRORS1"]) == ("0", "79")
    assert all('Hostname="gpu-1"' in key for key in samples)


def test_a_line_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="busy"):
        gpus("busy\n")
