"""What two detectors saw: boxes, and the rule by which they agree."""
