"""The parts of the embedded store, one concern each."""
