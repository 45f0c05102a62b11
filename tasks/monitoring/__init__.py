"""Drift of the traffic, and the figures that request a retrain."""
