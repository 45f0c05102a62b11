"""What stands around the service on a machine: templates, and the modules that render and check them."""
