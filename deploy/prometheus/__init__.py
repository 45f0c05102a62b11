"""Prometheus: what it scrapes, and when it calls somebody."""
