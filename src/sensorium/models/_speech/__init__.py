"""Private parts of speech recognition."""
