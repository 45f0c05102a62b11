"""Grafana: dashboards and what provisions them."""
