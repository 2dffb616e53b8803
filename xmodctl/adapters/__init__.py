"""Adapter packages and the store of them."""
