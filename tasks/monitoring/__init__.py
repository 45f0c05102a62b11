"""Drift of the traffic, and when a retrain is asked for."""
