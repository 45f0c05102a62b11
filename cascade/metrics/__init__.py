"""Prometheus series: their table, the registry of the service, and the files that batch runs leave."""
