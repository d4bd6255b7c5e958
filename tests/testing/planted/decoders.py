"""Faults of decoders."""

from __future__ import annotations

from tests.testing.planted import fault


@fault("decoder", "gives_the_right_shape", "the contract is [1, 1, 28, 28]", "fits_in_closed_form", "exports_to_onnx")
def forgets_the_channels(latent, shape):
    "Gives [N, H, W] for grey images."
    from tests.testing.planted.sound import Decoder

    class Fault(Decoder):
        def forward(self, codes):
            return super().forward(codes).squeeze(1)

    return Fault(latent, shape)


@fault("decoder", "passes_gradients", "no gradient goes back through it to the codes")
def stops_the_gradient(latent, shape):
    "Trains itself and not the encoder before it."
    from tests.testing.planted.sound import Decoder

    class Fault(Decoder):
        def forward(self, codes):
            return super().forward(codes.detach())

    return Fault(latent, shape)


@fault("decoder", "fits_in_closed_form", "in the order of `images`")
def pairs_wrongly(latent, shape):
    "Regresses the images on the codes of other images."
    import torch

    from tests.testing.planted.sound import Decoder

    class Fault(Decoder):
        def fit(self, codes, images):
            solution = torch.linalg.lstsq(codes.flip(0), torch.cat(list(images)).flatten(1)).solution
            self.linear.weight.copy_(solution.T)
            self.linear.bias.zero_()

    return Fault(latent, shape)


@fault("decoder", "exports_to_onnx", "look for randomness")
def computes_otherwise_when_exported(latent, shape):
    "Scales where it is traced, and only there."
    from tests.testing.planted.sound import Decoder

    class Fault(Decoder):
        def forward(self, codes):
            import torch

            exporting = torch.compiler.is_compiling()
            return super().forward(codes) * (1.01 if exporting else 1.0)

    return Fault(latent, shape)
