"""Which stages of the cascade are switched on: predictions of each stage, replayed by the router."""
