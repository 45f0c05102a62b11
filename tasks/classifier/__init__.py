"""Stage 1: backbone, head, losses, calibration and ONNX export."""
