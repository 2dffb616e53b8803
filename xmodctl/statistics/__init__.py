"""Resampling, confidence intervals and significance tests; needs only NumPy."""
