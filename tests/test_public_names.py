"""`import sensorium` is light, and every public name is there."""

import subprocess
import sys

import sensorium


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(sensorium, name) is not None for name in sensorium.__all__)
    assert set(sensorium.__all__) == set(sensorium._HOMES)
    assert dir(sensorium) == sorted(sensorium.__all__)


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sensorium, sys; print(*sorted({'llama_index', 'numpy', 'pymupdf', 'onnxruntime'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
