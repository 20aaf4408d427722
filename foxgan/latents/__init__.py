"""The latent space of a generator: sampling, truncation, interpolation, film."""
