"""From bytes to the pixels that a network takes."""
