"""Kill points: a few of them here; `python -m benchmarks.weaviate_kills` has more.

`SENSORIUM_KILLS=20,10` sets how often the indexing process and the server are killed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.testing.weaviate import WeaviateServer

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1800)
def test_kills_lose_and_tear_nothing(weaviate_server: WeaviateServer) -> None:
    """The indexing process and the server, with refused objects and deadlines that pass, while a reader watches."""
    if weaviate_server.embedded is None:
        pytest.skip("the server at WEAVIATE_URL is not ours to kill")
    client, server = os.environ.get("SENSORIUM_KILLS", "4,2").split(",")
    kills = ["--client", client, "--server", server, "--mode", "mixed", "--sources", "6", "--seed", client]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.weaviate_kills", *kills]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert (outcome["client_kills"], outcome["server_kills"]) == (int(client), int(server))
    assert outcome["published"] > 0
    assert outcome["reads"] > 0
    assert outcome["unread"] == 0
    assert done.returncode == 0
