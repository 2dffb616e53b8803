"""Languages that a model never saw: text in, an adapter out, and nothing else changed."""
