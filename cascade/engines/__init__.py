"""Engines that run exported networks: one contract, one module a library."""
