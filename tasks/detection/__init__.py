"""The parts of `tasks.detect`: pictures with boxes, views of them, two detectors, their training and their scores."""
