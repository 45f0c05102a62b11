"""Packets: what cannot be read is counted, and reading goes on behind it, but not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import pytest

from cascade.video.demux import MAX_ERRORS, packets


@dataclass
class Packet:
    size: int = 1


class Failing:
    """A container whose reading fails `times` times after each packet; no file that does so was found."""

    def __init__(self, times: int, total: int = 3) -> None:
        self.times, self.left, self.failures = times, total, 0

    def demux(self, _: object) -> Iterator[Packet]:
        while self.left:
            if self.failures:
                self.failures -= 1
                raise av.error.InvalidDataError(1, "invalid data")
            self.left, self.failures = self.left - 1, self.times
            yield Packet()
        yield Packet(0)  # FFmpeg's last one says that nothing follows


@pytest.mark.parametrize(
    ("times", "given", "errors"), [(0, 3, 0), (1, 3, 2), (MAX_ERRORS, 3, 2 * MAX_ERRORS), (1000, 1, MAX_ERRORS + 1)]
)
def test_reading_goes_on_behind_errors(times: int, given: int, errors: int) -> None:
    failures: list[Exception] = []
    assert len(list(packets(Failing(times), None, failures))) == given
    assert len(failures) == errors
