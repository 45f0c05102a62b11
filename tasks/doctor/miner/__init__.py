"""What a miner of the subnet needs: to be found, registered and in time, a valid model, and no key lying about."""
