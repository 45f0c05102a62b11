"""Errors that are for people are one line in the log of a run; Prefect adds a traceback to each of them."""

from __future__ import annotations

import logging

OURS = ("cascade", "tasks", "flows")
# https://docs.prefect.io/v3/how-to-guides/workflows/add-logging
LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class OneLine(logging.Filter):
    """Leaves the message alone of an exception whose class is ours: it names file or key, and what to do.

    The traceback of any other exception stays, since nobody has foreseen it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record; it is always kept."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.partition(".")[0] in OURS:
            record.msg, record.args, record.exc_info = f"failed: {error}", (), None
        return True


ONE_LINE = OneLine()


def shorten_errors() -> None:
    """Have the logs of this process's runs say expected errors in one line; a second call changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(ONE_LINE)
