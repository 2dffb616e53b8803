"""Adding a language that the model was not pre-trained on: a new adapter, trained on plain text."""
