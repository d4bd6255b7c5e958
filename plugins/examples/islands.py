"""A density that is told a class: `aepipe infer sample --label 3`."""

from aepipe import hookimpl


@hookimpl
def register_densities(register):
    register(islands)


def islands(latent, *, classes):
    "A round Gaussian for each class."
    import math

    import torch
    from torch import nn

    if classes is None:
        raise ValueError("it learns from labels, and the data have none")

    class Islands(nn.Module):
        noise_features = latent

        def __init__(self):
            super().__init__()
            self.classes = classes
            self.register_buffer("mean", torch.zeros(classes, latent))
            self.register_buffer("std", torch.ones(classes))

        def fit(self, codes, *, labels):
            for label in range(classes):
                own = codes[labels == label] if (labels == label).sum() > 1 else codes  # a class may have no codes
                self.mean[label] = own.mean(0)
                self.std[label] = (own - own.mean(0)).square().mean().clamp(min=1e-12).sqrt()

        def sample(self, noise, label):
            return self.mean[label] + self.std[label, None] * noise

        def log_prob(self, codes, label):
            squares = ((codes - self.mean[label]) / self.std[label, None]).square() + math.log(2 * math.pi)
            return -0.5 * squares.sum(1) - latent * self.std[label].log()

    return Islands()
