"""Logs of the service: one JSON object a line, without anything of the images."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

# of the request that is being answered; empty outside of one
request_id: ContextVar[str] = ContextVar("request_id", default="")
FACTS = "facts"


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, request id, the facts of `logging`'s `extra`, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line |= getattr(record, FACTS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_config(kind: Literal["json", "text"]) -> dict[str, Any]:
    """Give the configuration of `logging.config.dictConfig`: everything from INFO up to standard error."""
    formatters = {
        "json": {"()": JsonFormatter},
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": kind}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"streetvision": {"level": "INFO"}, "uvicorn": {"level": "INFO"}},
    }
