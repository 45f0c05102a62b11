"""What data sets call the objects at roadworks, and what we call them."""

from __future__ import annotations

# The classes of the ROADWork dataset (Ghosh et al., ICCV 2025). Channelizers that are neither cone nor drum guide
# traffic as drums do; a message board is an arrow board with words.
OBJECT_NAMES = {
    "cone": "cone",
    "drum": "drum",
    "tubular marker": "drum",
    "vertical panel": "drum",
    "barricade": "barrier",
    "barrier": "barrier",
    "fence": "barrier",
    "arrow board": "arrow_board",
    "temporary traffic control message board": "arrow_board",
    "ttc message board": "arrow_board",
    "temporary traffic control sign": "sign",
    "ttc sign": "sign",
    "worker": "worker",
    "work vehicle": "vehicle",
    "work equipment": "vehicle",
    # our own names, for files that people export from this project
    "sign": "sign",
    "arrow_board": "arrow_board",
    "vehicle": "vehicle",
}
# areas and people that are no evidence of roadworks
IGNORED = {"road", "sidewalk", "bike lane", "police officer", "police vehicle", "other roadwork objects"}


def object_name(name: str) -> str | None:
    """Our name for an object; empty where it is no evidence of roadworks, None where it is unknown."""
    return "" if name.lower() in IGNORED else OBJECT_NAMES.get(name.lower())
