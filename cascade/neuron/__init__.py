"""The miner of the subnet: the axon of bittensor around the cascade, as a client of the local service."""
