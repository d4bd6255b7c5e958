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
