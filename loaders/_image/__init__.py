"""Private parts of the image loader."""
