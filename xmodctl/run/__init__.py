"""A run: its plan, its folder, what it keeps, its model in memory."""
