"""The header by which a caller of the service says how long it waits."""

from __future__ import annotations

# seconds; the service answers with the best estimate it has by then, and never later than `serve.deadline_seconds`
DEADLINE_HEADER = "X-Deadline-Seconds"
