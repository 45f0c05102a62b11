"""How stages become an answer: the cascade, its router, the executor of its stages, memory and time limits."""
