"""nginx before the service: the template, and the module that renders, checks, applies and runs it."""
