"""Which stages of the cascade are switched on: results of each stage on its own, replayed by the router."""
