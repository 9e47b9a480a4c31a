"""Recordings: what is in them, their sound, speech, captions, scenes and clips."""
