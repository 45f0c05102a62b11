"""What runs beside a flow: the Prefect server and its events, the service, the summary of a run."""
