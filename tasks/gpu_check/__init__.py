"""`make gpu-check`: every model of a profile at its real size, with random weights, on the card of this machine.

`plan.py` lists the checks of a profile, `run.py` runs each in a process of its own, `judge.py` holds their figures
against the profile's claims. A module a stage (`classifier.py`, `detectors.py`, `vlm.py`, `ocr.py`, `sdxl.py`) builds
the stage's own classes from `configurations/`.
"""
