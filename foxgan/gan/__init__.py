"""The generator: networks, augmentation, losses, training and weight files. Knows nothing of pipelines."""
