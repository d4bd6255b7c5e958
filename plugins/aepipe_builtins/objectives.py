"""Objectives: what the features mean and what training minimises."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_objectives(register):
    register(mse)
    register(vae)


def mse(latent):
    """The lecture's quadratic loss: half the squared error, summed over the image."""
    from .losses import SquaredError

    return SquaredError()


def vae(latent, *, beta: float = 1.0):
    """Variational autoencoder (Kingma and Welling, 2014; beta: Higgins et al., 2017); the code is the mean.

    beta: weight of the Kullback-Leibler term
    """
    from .losses import Variational

    return Variational(latent, beta)
