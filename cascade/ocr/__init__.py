"""Text on signs: keywords of roadworks in many languages."""
