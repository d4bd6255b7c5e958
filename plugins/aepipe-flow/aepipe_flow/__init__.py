"""A normalising flow as a density for aepipe: `--density flow`."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_densities(register):
    register(flow)


def flow(latent, *, layers: int = 8, hidden: int = 64, epochs: int = 50, lr: float = 3e-3, patience: int = 10):
    """A normalising flow, RealNVP (Dinh, Sohl-Dickstein and Bengio, 2017), on whitened codes.

    layers: number of affine couplings, each of which moves half of the directions
    hidden: width of the two hidden layers in every coupling
    epochs: largest number of passes over the codes
    lr: learning rate of Adam at the start; it falls to zero along a cosine
    patience: stop after so many passes without a better likelihood of held-out codes
    """
    from .realnvp import RealNVP  # torch is imported when a flow is made, not when aepipe starts

    return RealNVP(latent, layers, hidden, epochs, lr, patience)
