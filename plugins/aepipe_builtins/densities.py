"""Densities on the latent space: fitted to training codes, sampled from standard-normal noise."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_densities(register):
    register(gaussian)
    register(pca)
    register(gmm)


def gaussian(latent):
    """The lecture's density: a Gaussian with a diagonal covariance."""
    from .gaussians import DiagonalGaussian

    return DiagonalGaussian(latent)


def pca(latent, *, components: int | None = None):
    """A Gaussian in the principal axes of the codes (probabilistic PCA; Tipping and Bishop, 1999).

    components: how many axes have their own variance; the others share one (default: all that the codes span)
    """
    from .gaussians import PrincipalGaussian

    return PrincipalGaussian(latent, components)


def gmm(latent, *, components: int = 10, by_class: bool = False, classes: int | None = None):
    """A mixture of Gaussians with full covariances: follows clusters, where one Gaussian sees an ellipse.

    components: number of Gaussians in the mixture
    by_class: fit a mixture to each class, so that samples can have a label; the data need labels
    """
    from .mixtures import GaussianMixture, MixtureOfEachClass

    if by_class and classes is None:
        raise ValueError("by_class=true learns from labels, and the data have none")
    if by_class and classes is not None:
        return MixtureOfEachClass(latent, components, classes)
    return GaussianMixture(latent, components)
