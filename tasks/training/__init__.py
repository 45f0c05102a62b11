"""The one training loop, and what trainings share: schedule, averages, checkpoints, samples, a feature cache."""
