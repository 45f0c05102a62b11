"""The subnet on this machine: its challenges, its arithmetic, and miners of every kind to put to the test."""
