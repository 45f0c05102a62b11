"""From stage outputs to a release: registry, gate, ledger and smoke test."""
