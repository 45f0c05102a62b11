"""What a classifier earns in the subnet, with its interval: one figure for gate, select_stages and simulate."""
