"""The cascade in this process, without the service: for the command line."""
