"""Masked-language modeling of plain text: what heads and new adapters learn from, and what adapters are ranked by."""
