"""Weights of others: the catalog of public models, and readers of foreign files that run nothing of what they read."""
