"""The latest nonce of each dendrite, for bittensor's check against replays, with an end to its size."""

from __future__ import annotations

from collections import OrderedDict

MOST = 4096


class Nonces(OrderedDict[str, int]):
    """Takes the place of the axon's dictionary, which keeps every dendrite for ever.

    For a dendrite that was dropped the axon looks at the age of the nonce, which has to be of the last seconds.
    """

    def __setitem__(self, dendrite: str, nonce: int) -> None:
        """Keep a nonce, and drop the one that was set longest ago where there are too many."""
        super().__setitem__(dendrite, nonce)
        self.move_to_end(dendrite)
        if len(self) > MOST:
            self.popitem(last=False)
