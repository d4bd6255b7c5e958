"""A restorer: a decoder with a skip connection, for codes that are the image (`--encoder identity --latent-dim image`)."""

from aepipe import hookimpl


@hookimpl
def register_decoders(register):
    register(skips)


def skips(latent, shape, *, channels: int = 16):
    """Half the resolution and back, beside a path at full resolution; it takes images of any size.

    channels: of the inner layers
    """
    import torch
    from torch import nn
    from torch.nn.functional import interpolate, relu

    if len(shape) != 3 or tuple(latent.shape) != tuple(shape):
        raise ValueError("it restores images: give --encoder identity --latent-dim image")

    class Skips(nn.Module):
        multiple = 2  # sides are padded to a multiple of it

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(shape[0], channels, 3, padding=1)
            self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
            self.inner = nn.Conv2d(channels, channels, 3, padding=1)
            self.last = nn.Conv2d(2 * channels, shape[0], 3, padding=1)

        def forward(self, images):
            fine = relu(self.first(images))
            coarse = relu(self.inner(relu(self.down(fine))))
            return images + self.last(torch.cat([fine, interpolate(coarse, scale_factor=2)], 1))

    return Skips()
