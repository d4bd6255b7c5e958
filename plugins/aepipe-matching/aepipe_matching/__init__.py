"""Flow matching as a density for aepipe: `--density matching`."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_densities(register):
    register(matching)


def matching(latent, *, hidden: int = 256, blocks: int = 3, steps: int = 12, updates: int = 6000, lr: float = 1e-3):
    """Flow matching (Lipman et al., 2023) on whitened codes: it samples, and gives no likelihoods.

    hidden: width of the network that gives the velocity
    blocks: residual blocks in it
    steps: steps of the midpoint rule from noise to a code, each of which runs the network twice
    updates: steps of training
    lr: learning rate of Adam at the start; it falls to zero along a cosine
    """
    from .velocity import Matching  # torch is imported when a density is made, not when aepipe starts

    return Matching(latent, hidden, blocks, steps, updates, lr)
