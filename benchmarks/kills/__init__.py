"""Parts of `benchmarks.weaviate_kills`: what is indexed, and the two processes that index and watch."""
