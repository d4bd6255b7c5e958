"""How good reconstructions and samples are, and how unusual an image is."""
