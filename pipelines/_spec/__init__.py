"""Parts of `pipelines.spec`: reading YAML with positions, the environment, components, the JSON Schema."""
