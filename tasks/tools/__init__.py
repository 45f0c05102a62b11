"""What people call by hand."""
