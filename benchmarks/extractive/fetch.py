"""Fetch the Debian packages that the development set is made from, into a cache folder.

They are documentation that any Debian or Ubuntu machine can download: the Free On-line Dictionary of Computing, a
dictionary of the elements, country and airport tables, the Debian history, FAQ and handbook.
"""

import subprocess
import sys
from pathlib import Path

PACKAGES = ("dict-foldoc", "dict-elements", "miscfiles", "debian-history", "debian-faq", "debian-handbook")


def fetch(folder: Path) -> Path:
    """Download and unpack what is missing.

    Args:
        folder: Cache folder.

    Returns:
        Root of the unpacked files.
    """
    root = folder / "root"
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not list(folder.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        mark = folder / f"{package}.unpacked"
        if not mark.exists():
            archive = next(folder.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(root)], check=True)
            mark.touch()
    return root


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1])))
