"""Pictures that the service keeps for mining."""
