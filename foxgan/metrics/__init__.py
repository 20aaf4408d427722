"""Scores of a generator against a dataset. Each takes any iterable of uint8 NCHW batches, from files or from a generator."""
