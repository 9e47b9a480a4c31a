"""The parts of indexing: discovery, worker processes, embedding, progress and the report."""
