"""What trainings of detectors and backbone share: pictures with boxes, their order, and a loop that can be stopped."""
