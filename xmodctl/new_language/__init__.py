"""Languages the model never saw."""
