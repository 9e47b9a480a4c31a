"""Indexing, recognising text and answering open no network connection (onnxruntime's telemetry is on by default).

The commands run in an empty network namespace. Every attempt to reach an address, also by native code and by
look-ups of names, is counted there by the kernel, and must not happen.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNTED = {"Ip": ("OutRequests", "OutNoRoutes"), "Tcp": ("ActiveOpens",), "Udp": ("OutDatagrams",)}
PROBE = "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 443), timeout=1)\nexcept OSError:\n    pass"


def in_empty_namespace(*command: str) -> int:
    """Run a command without a network; how often it tried to reach something."""
    script = '"$@" >&2; status=$?; cat /proc/net/snmp; exit $status'
    run = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", script, "sh", *command], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return sum(attempts(run.stdout))


def attempts(snmp: str) -> list[int]:
    lines = [line.split() for line in snmp.splitlines()]
    rows = {names[0].rstrip(":"): dict(zip(names[1:], values[1:], strict=True)) for names, values in pairs(lines)}
    return [int(rows[protocol][name]) for protocol, names in COUNTED.items() for name in names]


def pairs(lines: list[list[str]]) -> list[tuple[list[str], list[str]]]:
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-r", "-n", "true"], check=False).returncode:
        pytest.skip("network namespaces are not available here")


def test_the_kernel_counts_attempts() -> None:
    assert in_empty_namespace(sys.executable, "-c", PROBE) > 0


@pytest.mark.e2e
def test_index_and_ask_reach_for_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "examples" / "make_documents.py", tmp_path / "in"], check=True)
    sensorium = [sys.executable, "-m", "sensorium.apps.cli"]
    data = ["--data", str(tmp_path / "data")]
    # onnxruntime tries its first upload some seconds after its first session: the scan and pictures take that long.
    assert in_empty_namespace(*sensorium, "index", str(tmp_path / "in"), *data) == 0
    assert in_empty_namespace(*sensorium, "ask", "Until when is the fog signal permit valid?", *data) == 0
