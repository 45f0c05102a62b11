"""What the Hub has to give before a profile can run: the catalogue, the hub's answers, and the places it goes to."""
