"""The error of the pipeline."""


class PipelineError(RuntimeError):
    """DVC cannot read the pipeline, another process blocks it, or a stage of it failed."""
