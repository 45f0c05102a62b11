"""Decoding of what strangers send, in processes that can be ended."""
