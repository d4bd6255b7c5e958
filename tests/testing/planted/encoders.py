"""Faults of encoders; what decoders share with them is not planted twice."""

from __future__ import annotations

from tests.testing.planted import fault

# What gives another shape or type is in the way of whatever comes after it.
EVERYTHING = (
    "passes_gradients",
    "trains_in_channels_last",
    "trains_in_bf16",
    "trains_on_one_image",
    "survives_saving",
)


@fault("encoder", "gives_the_right_shape", "the contract is [1, 4]", *EVERYTHING)
def keeps_a_dimension(shape, features):
    "Gives [N, features, 1]."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images)[..., None]

    return Fault(shape, features)


@fault("encoder", "gives_the_right_shape", "return float32", *EVERYTHING)
def computes_in_double(shape, features):
    "Gives float64."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images).double()

    return Fault(shape, features)


@fault("encoder", "gives_the_right_shape", "refuse it in the factory with ValueError")
def fails_on_small_images(shape, features):
    "A kernel larger than some images, found out in forward."
    from torch import nn

    return nn.Sequential(nn.Conv2d(shape[0], features, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@fault(
    "encoder",
    "treats_samples_alone",
    "no squeeze() without a dimension",
    "gives_the_right_shape",
    "trains_on_one_image",
)
def squeezes(shape, features):
    "Loses the batch when it is one."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images).squeeze(0)

    return Fault(shape, features)


@fault("encoder", "treats_samples_alone", "no sample may depend on the others")
def centres_the_batch(shape, features):
    "Subtracts the mean of the batch, in evaluation too."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images - 0.5 * images.mean(0))

    return Fault(shape, features)


@fault("encoder", "leaves_its_input", "no in-place operation")
def works_in_place(shape, features):
    "Scales the images that it is given."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            images *= 0.5
            return super().forward(images)

    return Fault(shape, features)


@fault("encoder", "follows_the_seed", "torch's generator")
def draws_its_weights_with_numpy(shape, features):
    "Draws a weight from a generator that aepipe does not seed."
    import numpy as np
    import torch

    from tests.testing.planted.sound import Encoder

    net = Encoder(shape, features)
    with torch.no_grad():
        net.linear.bias.copy_(torch.from_numpy(np.random.default_rng().random(features)))
    return net


@fault("encoder", "follows_the_seed", "be random in training mode only", "treats_samples_alone", "survives_saving")
def is_random_in_evaluation(shape, features):
    "Drops features whatever the mode."
    from torch.nn.functional import dropout

    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return dropout(super().forward(images), 0.5, training=True)

    return Fault(shape, features)


@fault("encoder", "passes_gradients", "use every parameter in forward")
def has_a_layer_too_many(shape, features):
    "A parameter that nothing uses."
    from torch import nn

    from tests.testing.planted.sound import Encoder

    net = Encoder(shape, features)
    net.spare = nn.Linear(3, 3)
    return net


@fault("encoder", "passes_gradients", "no detach()")
def detaches(shape, features):
    "Cuts the gradient."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images).detach()

    return Fault(shape, features)


@fault("encoder", "trains_in_channels_last", "use reshape or flatten instead of view")
def views(shape, features):
    "Views what a convolution gives."
    from math import prod

    from torch import nn

    class Fault(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(shape[0], 3, 3, padding=1)
            self.linear = nn.Linear(3 * prod(shape[1:]), features)

        def forward(self, images):
            return self.linear(self.convolution(images).view(len(images), -1))

    return Fault()


@fault("encoder", "trains_in_bf16", "bring both operands to one type")
def mixes_types(shape, features):
    "Meets bfloat16 with float32 in an operation that allows no mixture."
    import torch

    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return torch.lerp(super().forward(images), self.linear.bias.expand(len(images), -1), 0.5)

    return Fault(shape, features)


@fault("encoder", "trains_on_one_image", "use GroupNorm or LayerNorm")
def normalises_features_over_the_batch(shape, features):
    "BatchNorm1d, which cannot train on one image."
    from math import prod

    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), features), nn.BatchNorm1d(features))


@fault("encoder", "survives_saving", "register_buffer")
def forgets_a_tensor(shape, features):
    "Keeps a random projection as a plain attribute."
    import torch

    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def __init__(self):
            super().__init__(shape, features)
            self.offset = torch.randn(features)

        def forward(self, images):
            return super().forward(images) + self.offset

    return Fault()


@fault("encoder", "fits_in_closed_form", "only iterate over `images`")
def counts_the_batches(shape, features):
    "A fit that asks for len()."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def fit(self, images):
            assert len(images)

    return Fault(shape, features)


@fault("encoder", "exports_to_onnx", "no Python control flow")
def decides_in_python(shape, features):
    "A branch that depends on the values."
    from tests.testing.planted.sound import Encoder

    class Fault(Encoder):
        def forward(self, images):
            return super().forward(images if float(images.sum()) < 1e9 else images / 2)

    return Fault(shape, features)
