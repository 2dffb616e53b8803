"""Tasks and recipes: what the YAML files say, and finding them."""
