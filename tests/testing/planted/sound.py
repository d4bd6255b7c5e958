"""Small components without a fault, which the planted faults change in one place. Imports torch: only factories import it."""

from __future__ import annotations

import math
from math import prod

import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, shape, features):
        super().__init__()
        self.linear = nn.Linear(prod(shape), features)

    def forward(self, images):
        return self.linear(images.flatten(1))


class Decoder(nn.Module):
    def __init__(self, latent, shape):
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(latent, prod(shape))

    def forward(self, codes):
        return self.linear(codes).unflatten(1, self.shape)


class Objective(nn.Module):
    features_per_latent = 1

    def __init__(self, latent):
        super().__init__()

    def code(self, features):
        return features

    def losses(self, features, decode, target):
        return {"loss": (decode(self.code(features)) - target).square().mean()}


class Density(nn.Module):
    """A Gaussian in principal axes, so that axes can be mistaken."""

    def __init__(self, latent):
        super().__init__()
        self.noise_features = latent
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("axes", torch.eye(latent))
        self.register_buffer("std", torch.ones(latent))

    def fit(self, codes):
        mean = codes.mean(0)
        variance, axes = torch.linalg.eigh((codes - mean).T @ (codes - mean) / len(codes))
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        self.std.copy_(variance.clamp(min=1e-6 * float(variance.max()) + 1e-12).sqrt())

    def sample(self, noise):
        return self.mean + (noise * self.std) @ self.axes.T

    def noise(self, codes):
        return ((codes - self.mean) @ self.axes) / self.std

    def log_prob(self, codes):
        return -0.5 * (self.noise(codes).square() + math.log(2 * math.pi)).sum(1) - self.std.log().sum()


class OneWay(nn.Module):
    """The same without `noise`."""

    def __init__(self, latent):
        super().__init__()
        self.inner = Density(latent)
        self.noise_features = latent

    def fit(self, codes):
        self.inner.fit(codes)

    def sample(self, noise):
        return self.inner.sample(noise)

    def log_prob(self, codes):
        return self.inner.log_prob(codes)


class OfClasses(nn.Module):
    """A diagonal Gaussian for each class."""

    def __init__(self, latent, classes):
        super().__init__()
        self.noise_features, self.classes = latent, classes
        self.register_buffer("mean", torch.zeros(classes, latent))
        self.register_buffer("std", torch.ones(classes, latent))

    def fit(self, codes, labels):
        for label in range(len(self.mean)):
            own = codes[labels == label] if (labels == label).any() else codes
            self.mean[label] = own.mean(0)
            self.std[label] = own.std(0, correction=0).clamp(min=1e-3)

    def sample(self, noise, label):
        return self.mean[label] + self.std[label] * noise

    def log_prob(self, codes, label):
        squares = ((codes - self.mean[label]) / self.std[label]).square() + math.log(2 * math.pi)
        return -0.5 * squares.sum(1) - self.std[label].log().sum(1)


class Classifier(Objective):
    """Tells the class of a code beside decoding it."""

    outputs = {"class": 3}  # noqa: RUF012  (as a plugin writes it)

    def __init__(self, latent):
        super().__init__(latent)
        self.head = nn.Linear(latent, 3)

    def output(self, codes):
        return {"class": self.head(codes)}

    def losses(self, features, decode, target, *, labels):
        known = labels >= 0
        scores = self.output(self.code(features))["class"].float()
        error = nn.functional.cross_entropy(scores[known], labels[known], reduction="sum") / len(labels)
        squares = super().losses(features, decode, target)["loss"]
        return {"loss": squares + error, "class": error}
