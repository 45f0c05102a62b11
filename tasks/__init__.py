"""WHAT: one module a pipeline step, run as `python -m tasks.<name>`; knows no Prefect."""
