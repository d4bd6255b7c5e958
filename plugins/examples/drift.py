"""Flow matching in its smallest form; aepipe-matching is one with whitening, averaged weights and progress."""

from aepipe import hookimpl


@hookimpl
def register_densities(register):
    register(drift)


def drift(latent, *, hidden: int = 64, steps: int = 8, updates: int = 500):
    """Follows a learned velocity from noise to a code; it samples, and gives no likelihoods.

    hidden: width of the network
    steps: from noise to a code, unrolled in the graph
    updates: steps of training
    """
    import torch
    from torch import nn

    class Drift(nn.Module):
        noise_features = latent

        def __init__(self):
            super().__init__()
            inner = [nn.Linear(latent + 1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()]
            self.network = nn.Sequential(*inner, nn.Linear(hidden, latent))
            self.register_buffer("mean", torch.zeros(latent))
            self.register_buffer("std", torch.ones(latent))

        def velocity(self, points, time):
            return self.network(torch.cat([points, time], 1))

        def fit(self, codes):
            self.mean.copy_(codes.mean(0))
            self.std.copy_(codes.std(0).clamp(min=1e-6))
            values = (codes - self.mean) / self.std
            optimiser = torch.optim.Adam(self.network.parameters(), lr=3e-3)
            for _ in range(updates):
                code = values[torch.randint(len(values), (256,))]
                noise, time = torch.randn_like(code), torch.rand(256, 1)
                with torch.enable_grad():
                    error = self.velocity(torch.lerp(noise, code, time), time) - (code - noise)
                    error.square().mean().backward()
                optimiser.step()
                optimiser.zero_grad()

        def sample(self, noise):
            points = noise
            for step in range(steps):
                time = torch.full_like(noise[:, :1], (step + 0.5) / steps)
                points = points + self.velocity(points, time) / steps
            return self.mean + self.std * points

    return Drift()
