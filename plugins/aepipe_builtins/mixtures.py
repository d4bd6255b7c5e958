"""The modules of the density `gmm`. Only its factory imports this file, so it may import torch."""

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
        if len(codes) < self.components:
            raise ValueError(f"{self.components} components need as many codes")
        self._keep(slice(None), *_fitted(codes, self.components))

    def _keep(self, rows: slice, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        """Take over these components as those of `rows`."""
        self.log_weights[rows] = weights.log().float()
        self.means[rows] = means.float()
        self.factors[rows] = factors.float()
        self.whitening[rows] = torch.linalg.inv(factors).mT.float()
        self.log_volumes[rows] = factors.diagonal(dim1=1, dim2=2).log().sum(1).float()
        self._keep_edges(rows, (weights.cumsum(0) / weights.sum())[:-1].float())

    def _keep_edges(self, rows: slice, edges: Tensor) -> None:
        self.edges.copy_(edges)

    def sample(self, noise: Tensor) -> Tensor:
        uniform = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = (uniform > self.edges).sum(1)
        moved = (self.factors[chosen] @ noise[:, :-1, None]).squeeze(2)
        return self.means[chosen] + moved

    def log_prob(self, codes: Tensor) -> Tensor:
        return torch.logsumexp(self._joint(codes), 1)

    def _joint(self, codes: Tensor) -> Tensor:
        """log w_k·N(codes; m_k, C_k), [N, K] of all components."""
        # A single product, [N, d] by [d, K·d], serves all components.
        matrix = self.whitening.transpose(0, 1).reshape(self.latent, -1)
        offsets = (self.means[:, None] @ self.whitening).reshape(-1)
        standard = (codes @ matrix - offsets).reshape(-1, len(self.means), self.latent)
        exponents = -0.5 * (standard.square() + math.log(2 * math.pi)).sum(2)
        return self.log_weights - self.log_volumes + exponents


class MixtureOfEachClass(GaussianMixture):
    """A mixture of its own for every class.

    A class has at most a component for every two of its codes. One with a single code, or none, has the mixture of all codes,
    because nothing says how far its codes spread.
    """

    def __init__(self, latent: int, components: int, classes: int):
        super().__init__(latent, components * classes)
        self.classes, self.each = classes, components
        self.register_buffer("edges", torch.ones(classes, components - 1))

    def fit(self, codes: Tensor, labels: Tensor) -> None:  # type: ignore[override]  # it gets what it names
        for label in range(self.classes):
            own = codes[labels == label]
            own = own if len(own) > 1 else codes
            count = min(self.each, max(1, len(own) // 2))
            weights, means, factors = _fitted(own, count)
            missing = self.each - count  # they have no weight, so that what else they are does not matter
            whole = torch.cat([weights, weights.new_zeros(missing)])
            means = torch.cat([means, means[:1].expand(missing, -1)])
            factors = torch.cat([factors, factors[:1].expand(missing, -1, -1)])
            self._keep(slice(label * self.each, (label + 1) * self.each), whole, means, factors)

    def _keep_edges(self, rows: slice, edges: Tensor) -> None:
        self.edges[rows.start // self.each] = edges

    def sample(self, noise: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        uniform = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = label * self.each + (uniform > self.edges[label]).sum(1)
        moved = (self.factors[chosen] @ noise[:, :-1, None]).squeeze(2)
        return self.means[chosen] + moved

    def log_prob(self, codes: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        joint = self._joint(codes).reshape(-1, self.classes, self.each)
        own = joint.gather(1, label[:, None, None].expand(-1, 1, self.each)).squeeze(1)
        return torch.logsumexp(own, 1)


def _fitted(codes: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [K], means [K, d] and Cholesky factors [K, d, d] of a mixture that is fitted to codes [N, d], all float64."""
    from sklearn import mixture
    from sklearn.exceptions import ConvergenceWarning

    centre = codes.double().mean(0)
    scale = (codes.double() - centre).square().mean(0).max().sqrt().clamp(min=1e-6)
    seed = int(torch.randint(2**31 - 1, ()))
    # Fitting is done in float64, because in float32 covariances of 32 dimensions are not always positive definite.
    model = mixture.GaussianMixture(components, reg_covar=FLOOR, random_state=seed, max_iter=200)
    with warnings.catch_warnings():
        # With few codes, or repeated ones, it may not converge; then the parameters of the last step are good enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(((codes.double() - centre) / scale).numpy())
    weights = torch.from_numpy(model.weights_).clamp(min=1e-12)
    factors = torch.linalg.cholesky(torch.from_numpy(model.covariances_)) * scale
    return weights, torch.from_numpy(model.means_) * scale + centre, factors
