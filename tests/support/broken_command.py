"""A command whose import fails, for tests."""

app = 1 / 0
