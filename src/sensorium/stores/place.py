"""Where an index lies on disk."""

from pathlib import Path

from sensorium.errors import ConfigError, MissingIndexError

MAKE_ONE = "Make one: sensorium index FOLDER"


def check_there(path: Path, data: Path) -> None:
    """Check that what an engine keeps in the data folder is there, without opening it.

    Args:
        path: A file or folder that is made with the index.
        data: The data folder, for messages.

    Raises:
        MissingIndexError: it is not.
        ConfigError: that cannot be seen.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingIndexError(f"There is no index in {data}.", MAKE_ONE) from None
    except OSError as error:
        reason = f"The index in {data} cannot be reached: {error.strerror}."
        raise ConfigError(reason, "Check the path (--data).") from error
