"""The parts of describing pictures while indexing: what is asked, what it may cost, what is kept, and its nodes."""
