"""The module of the density `gmm`. Only its factory imports this file, so it may import torch."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from .memory import require_memory

FLOOR = 1e-5  # times the codes' largest variance, this is added to every covariance in every direction


BYTES = (
    64  # that fitting needs at most for each entry of the covariances: scikit-learn's, and those that are made of them
)


class GaussianMixture(nn.Module):
    """Σ w_k · N(m_k, C_k) with full covariances, fitted by expectation maximisation (Dempster, Laird and Rubin, 1977).

    The noise has one number more than a code. The normal distribution function makes the last number uniform in 0..1, and that
    chooses the component; the other numbers are the noise of this component.
    """

    def __init__(self, latent: int, components: int):
        super().__init__()
        if components < 1:
            raise ValueError(f"components must be at least 1, not {components}")
        what = f"fitting {components} covariances of {latent:,} numbers"
        require_memory(BYTES * components * latent**2, what, "take pca or gaussian, or fewer components")
        self.latent, self.components = latent, components
        self.noise_features = latent + 1
        self.register_buffer("log_weights", torch.full((components,), -math.log(components)))
        self.register_buffer("edges", torch.arange(1, components) / components)  # between components, on 0..1
        self.register_buffer("means", torch.zeros(components, latent))
        self.register_buffer("factors", torch.eye(latent).repeat(components, 1, 1))  # C = F·Fᵀ
        self.register_buffer("whitening", torch.eye(latent).repeat(components, 1, 1))  # F⁻ᵀ
        self.register_buffer("log_volumes", torch.zeros(components))  # log |F|

    def fit(self, codes: Tensor) -> None:
        from sklearn import mixture
        from sklearn.exceptions import ConvergenceWarning

        if len(codes) < self.components:
            raise ValueError(f"{self.components} components need as many codes")
        centre = codes.double().mean(0)
        scale = (codes.double() - centre).square().mean(0).max().sqrt().clamp(min=1e-6)
        seed = int(torch.randint(2**31 - 1, ()))
        # Fitting is done in float64, because in float32 covariances of 32 dimensions are not always positive definite.
        model = mixture.GaussianMixture(self.components, reg_covar=FLOOR, random_state=seed, max_iter=200)
        with warnings.catch_warnings():
            # With few codes, or repeated ones, it may not converge; then the parameters of the last step are good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(((codes.double() - centre) / scale).numpy())
        weights = torch.from_numpy(model.weights_).clamp(min=1e-12)
        factors = torch.linalg.cholesky(torch.from_numpy(model.covariances_)) * scale
        self.log_weights.copy_(weights.log())
        self.edges.copy_((weights.cumsum(0) / weights.sum())[:-1])
        self.means.copy_(torch.from_numpy(model.means_) * scale + centre)
        self.factors.copy_(factors)
        self.whitening.copy_(torch.linalg.inv(factors).mT)
        self.log_volumes.copy_(factors.diagonal(dim1=1, dim2=2).log().sum(1))

    def sample(self, noise: Tensor) -> Tensor:
        uniform = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = (uniform > self.edges).sum(1)
        moved = (self.factors[chosen] @ noise[:, :-1, None]).squeeze(2)
        return self.means[chosen] + moved

    def log_prob(self, codes: Tensor) -> Tensor:
        # A single product, [N, d] by [d, K·d], serves all components.
        matrix = self.whitening.transpose(0, 1).reshape(self.latent, -1)
        offsets = (self.means[:, None] @ self.whitening).reshape(-1)
        standard = (codes @ matrix - offsets).reshape(-1, self.components, self.latent)
        exponents = -0.5 * (standard.square() + math.log(2 * math.pi)).sum(2)
        return torch.logsumexp(self.log_weights - self.log_volumes + exponents, 1)
