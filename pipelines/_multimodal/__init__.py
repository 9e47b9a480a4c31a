"""Parts of the multimodal answer."""
