"""Objectives: what the features mean and what training minimises."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_objectives(register):
    register(mse)
    register(charbonnier)
    register(vae)
    register(rae)
    register(supervised)


def mse(latent):
    """The lecture's quadratic loss: half the squared error, summed over the image."""
    from .losses import SquaredError

    return SquaredError()


def charbonnier(latent, *, epsilon: float = 1e-3):
    """The absolute error, smooth at 0: outliers weigh less than in `mse`, and restored edges stay sharper.

    epsilon: how smooth, on the standardised scale; 0 is the plain absolute error
    """
    from .losses import AbsoluteError

    return AbsoluteError(epsilon)


def vae(latent, *, beta: float = 1.0):
    """Variational autoencoder (Kingma and Welling, 2014; beta: Higgins et al., 2017); the code is the mean.

    beta: weight of the Kullback-Leibler term
    """
    from .losses import Variational

    return Variational(latent, beta)


def rae(latent, *, code: float = 1e-2, decoder: float = 1e-4):
    """Regularised autoencoder with L2 penalties, a deterministic relative of `vae` (Ghosh et al., ICLR 2020).

    code: weight of half the squared norm of a code
    decoder: weight of half the squared norm of the decoder's weights
    """
    from .losses import Regularised

    return Regularised(code, decoder)


def supervised(latent, *, weight: float = 1.0, classes: int | None = None):
    """The quadratic loss, and a linear classifier of the code that learns from labels and is exported as the output `class`.

    weight: of the cross-entropy, in nats, which is averaged over the samples whose label is known
    """
    if classes is None:
        raise ValueError("it learns from labels, and the data have none")
    from .losses import Supervised

    return Supervised(latent, classes, weight)
