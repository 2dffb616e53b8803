"""Scores: the sweep over languages, results, comparison, prediction."""
