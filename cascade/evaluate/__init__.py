"""Metrics, and a labelled folder held against a release."""
