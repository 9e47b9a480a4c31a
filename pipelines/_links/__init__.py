"""Finding which slide a recording shows."""
