"""Parts of the command line: options, output, progress, batches."""
