"""The server binary of Weaviate Embedded: found in weaviate-client's cache, built there, or downloaded there.

weaviate-client runs any executable that lies in its cache under the right name, whichever way it came there. So
where Go is installed, the server is built from Weaviate's own module, by name and version, and put there.

`python -m sensorium.stores._weaviate.binary` does this step and says where the binary came from.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from sensorium.errors import SensoriumError, StoreError

VERSION = "1.38.11"
MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
BUILD_SECONDS = 1800


def ensure_binary(version: str = VERSION, cache: Path | None = None) -> tuple[Path, str]:
    """The server binary, fetched if it is missing.

    Args:
        version: Release without the leading "v".
        cache: Folder to keep it in; weaviate-client's own when None.

    Returns:
        Its path, and where it came from, in words.

    Raises:
        StoreError: it is missing, and neither building nor downloading it worked.
    """
    path = binary_path(version, cache)
    if path.exists():
        return _executable(path), "the cache of weaviate-client"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.lock")):
        if path.exists():  # made by another process while this one waited
            return _executable(path), "the cache of weaviate-client"
        failures = []
        for origin, make in ((f"go install {MODULE}@v{version}", _build), ("weaviate-client's download", _download)):
            try:
                make(version, path)
            except StoreError as fault:
                failures.append(f"{origin}: {fault.message}")
            else:
                return _executable(path), origin
    raise StoreError(
        f"There is no Weaviate {version} server here, and it could not be fetched ({'; '.join(failures)}).",
        f"Install Go 1.26 or newer, or put the server at {path}, or use a running one (store: {{weaviate: {{url}}}}).",
    )


def binary_path(version: str = VERSION, cache: Path | None = None) -> Path:
    """Where weaviate-client looks for a version."""
    from weaviate.embedded import EmbeddedOptions

    tag = f"v{version}"
    return Path(cache or EmbeddedOptions().binary_path) / f"weaviate-{tag}-{sha256(tag.encode()).hexdigest()}"


def _executable(path: Path) -> Path:
    # weaviate-client sets the mode of its own downloads only.
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o111)
    return path


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(version: str, path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise StoreError("Go is not installed")
    # Inside the cache: the finished binary is then renamed, so that nobody sees half of it.
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        flags = ["-trimpath", "-ldflags", '-s -w -extldflags "-static"']
        environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": scratch}
        try:
            run = subprocess.run(
                [go, "install", *flags, f"{MODULE}@v{version}"],
                env=environment, cwd=scratch, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as fault:
            raise StoreError(f"it took more than {BUILD_SECONDS} s") from fault
        if run.returncode:
            raise StoreError((run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1])
        os.replace(Path(scratch) / "weaviate-server", path)


def _download(version: str, path: Path) -> None:
    from weaviate.embedded import EmbeddedOptions, EmbeddedV4
    from weaviate.exceptions import WeaviateBaseError

    folder = str(path.parent)
    try:
        EmbeddedV4(
            EmbeddedOptions(version=version, binary_path=folder, persistence_data_path=folder)
        ).ensure_weaviate_binary_exists()
    except (OSError, EOFError, KeyError, ValueError, WeaviateBaseError) as fault:
        raise StoreError(str(fault) or type(fault).__name__) from fault


def main() -> int:
    """Fetch the server and print its path and where it came from."""
    try:
        path, origin = ensure_binary()
    except SensoriumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Weaviate {VERSION}: {path} (from {origin})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
