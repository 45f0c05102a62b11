"""How a release takes the place of another: one lock, one journal, one list of steps with their undo."""
