"""Low-rank changes to the backbone's blocks, trained together with a head, which step `train` goes on with."""
