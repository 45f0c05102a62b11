"""Data: its schema, readers, splits, views and features."""
