"""What a profile needs of the Hub: the catalogue, the table of it, and the places where it goes."""
