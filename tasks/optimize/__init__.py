"""Engines that are verified before they serve: smaller graphs, int8, FP16, TensorRT, and the measurements of each.

`export.py` is the whole of the step `export`; `tensorrt_engines.py` is what the step `detect` uses too.
"""
