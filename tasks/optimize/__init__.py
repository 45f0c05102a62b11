"""Engines at build time: folding, quantization, and what each engine is worth."""
