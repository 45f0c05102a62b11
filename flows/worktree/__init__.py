"""A git worktree for each run of the schedule: the deployed revision, DVC's cache shared with the checkout."""
