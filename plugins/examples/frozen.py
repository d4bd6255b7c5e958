"""A backbone that was trained elsewhere: an encoder that begins with weights of a file, and an optimiser that leaves them alone."""

from aepipe import hookimpl


@hookimpl
def register_encoders(register):
    register(backbone)


@hookimpl
def register_optimisers(register):
    register(careful)


def backbone(shape, features, *, weights: str = "", hidden: int = 32, rebuild):
    """A hidden layer of given weights, and one that is trained.

    weights: a file of safetensors with `weight` and `bias` of the hidden layer
    hidden: its width
    """
    from math import prod

    from safetensors.torch import load_file
    from torch import nn

    layer = nn.Linear(prod(shape), hidden)
    if weights and not rebuild:  # a run that is resumed or exported has them, the file may be gone
        layer.load_state_dict(load_file(weights))
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(hidden, features))


def careful(parameters, lr, *, frozen: str = "encoder.1.", slow: str = "encoder.", scale: float = 0.1):
    """Adam that leaves some weights alone and trains others slowly.

    frozen: names of those that stay begin so
    slow: names of those that follow slowly begin so
    scale: factor on their learning rate
    """
    import torch

    pairs = [(name, weight) for name, weight in parameters if not name.startswith(frozen)]
    groups = [
        {"params": [weight for name, weight in pairs if name.startswith(slow)], "lr_scale": scale},
        {"params": [weight for name, weight in pairs if not name.startswith(slow)]},
    ]
    return torch.optim.Adam([group for group in groups if group["params"]], lr=lr)
