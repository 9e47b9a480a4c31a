"""Parts of `sensorium.models.llm`."""
