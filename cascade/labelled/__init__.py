"""Labelled pictures on disk: files by their content, names of classes, manifests and class folders."""
