"""What all steps share: files, plots and telemetry switches."""
