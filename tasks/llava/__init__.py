"""The VLM's sample model: a LLaVA of DINOv2-S, a projector of ours and SmolLM2-135M-Instruct."""
