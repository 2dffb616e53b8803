"""Fine-tuning: from a request to deltas."""
