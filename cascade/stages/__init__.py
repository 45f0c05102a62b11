"""The stages of the cascade: the contract in `base`, one file a stage, and the factory that builds them."""
