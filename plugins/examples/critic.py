"""A loss of one's own, and an adversary: images that a critic cannot tell from true ones (Goodfellow et al., 2014)."""

from aepipe import hookimpl


@hookimpl
def register_objectives(register):
    register(critic)


def critic(latent, shape, *, weight: float = 1.0, edges: float = 0.5, hidden: int = 16):
    """Absolute error of values and of differences between neighbours, and a critic of images.

    weight: of what the critic says
    edges: weight of the error of differences
    hidden: channels of the critic
    """
    from torch import nn
    from torch.nn.functional import softplus

    if len(shape) != 3:
        raise ValueError("it judges images")

    class Critic(nn.Module):
        features_per_latent = 1
        players = ("judge",)

        def __init__(self):
            super().__init__()
            layers = [nn.Conv2d(shape[0], hidden, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(hidden, 1, 4, 2, 1)]
            self.judge = nn.Sequential(*layers)

        def code(self, features):
            return features

        def losses(self, features, decode, target):
            made = decode(features)
            wrong = made - target
            error = wrong.abs().sum() + edges * (wrong.diff(dim=2).abs().sum() + wrong.diff(dim=3).abs().sum())
            judged = softplus(-self.judge(target)).mean() + softplus(self.judge(made.detach())).mean()
            fooled = softplus(-self.judge(made)).mean()
            return {"loss": error / len(target) + weight * fooled, "judge": judged, "error": error / len(target)}

    return Critic()
