"""The machine's clock, as the kernel knows it: no server is asked."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.doctor.finding import Finding, not_asked, ok, warning
from tasks.doctor.registry import Context, check

UNSYNCHRONISED, NANOSECONDS = 0x40, 0x2000  # STA_UNSYNC and STA_NANO of sys/timex.h
TIME_ERROR = 5
MOST_SECONDS = 1.0  # of error; a validator drops requests that are some seconds old, and certificates have their days


class Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), with its spare room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "seconds", "fraction", "tick")),
        ("spare", ctypes.c_long * 32),
    )


@dataclass(frozen=True)
class Clock:
    """What keeps the clock says of it: whether it is kept, and its offset and largest error in seconds."""

    kept: bool
    offset: float
    error: float


def read_clock() -> Clock | None:
    """Ask the kernel, without changing anything; None where it does not say (no Linux, or a sandbox)."""
    try:
        library = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
        timex = Timex()
        code = library.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if code < 0:
        return None
    unit = 1e-9 if timex.status & NANOSECONDS else 1e-6
    kept = code != TIME_ERROR and not timex.status & UNSYNCHRONISED
    return Clock(kept, timex.offset * unit, timex.maxerror * 1e-6)


@check("clock")
def clock(context: Context) -> Iterator[Finding]:
    """Validators sign requests with the time, and the model's age is counted with it."""
    yield judge_clock(read_clock())


def judge_clock(found: Clock | None) -> Finding:
    """Say what the kernel's answer means."""
    sync = "chrony or systemd-timesyncd keep the clock: `chronyc tracking`, `timedatectl status`"
    if found is None:
        return not_asked("the kernel does not say how the clock is kept", sync)
    if not found.kept:
        # a guest whose host keeps the clock looks the same
        return not_asked("nothing on this machine keeps the clock, so that its offset cannot be known", sync)
    words = f"the clock is kept: offset {1000 * found.offset:+.1f} ms, error at most {1000 * found.error:.0f} ms"
    if abs(found.offset) + found.error > MOST_SECONDS:
        return warning(words, sync)
    return ok(words)
