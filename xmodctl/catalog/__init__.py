"""Tasks and recipes: what the YAML files say, and where they are."""
