"""Resampling, intervals, tests; knows numpy alone."""
