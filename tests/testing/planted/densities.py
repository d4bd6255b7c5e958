"""Faults of densities."""

from __future__ import annotations

from tests.testing.planted import fault


@fault("density", "says_how_much_noise", "set noise_features in __init__", "survives_saving")
def changes_its_noise(latent):
    "Takes more noise after fit than before."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def fit(self, codes):
            super().fit(codes)
            self.noise_features = codes.shape[1] + 1

        def sample(self, noise):
            return super().sample(noise[:, : self.inner.noise_features])

    return Fault(latent)


@fault("density", "gives_the_right_shape", "return float32")
def samples_in_double(latent):
    "Gives float64."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def sample(self, noise):
            return super().sample(noise).double()

    return Fault(latent)


@fault("density", "treats_samples_alone", "no mixing of rows")
def mixes_rows(latent):
    "Adds a little of the batch's mean."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def sample(self, noise):
            return super().sample(noise) + 0.05 * noise.mean()

    return Fault(latent)


@fault("density", "leaves_its_input", "no in-place operation")
def works_in_place(latent):
    "Scales the noise that it is given."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def sample(self, noise):
            noise *= self.std
            return self.mean + noise @ self.axes.T

    return Fault(latent)


@fault("density", "follows_the_seed", "seed your own from it")
def fits_at_random(latent):
    "A fit that the seed does not fix."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            import numpy as np

            super().fit(codes)
            self.std *= 1 + 0.001 * float(np.random.default_rng().random())

    return Fault(latent)


@fault("density", "has_the_right_moments", "fit the mean")
def forgets_the_mean(latent):
    "Centres everything at zero."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            super().fit(codes)
            self.mean.zero_()

    return Fault(latent)


@fault("density", "has_the_right_moments", "standard deviations, not variances")
def takes_the_variance(latent):
    "Scales by variances."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            super().fit(codes)
            self.std.square_()

    return Fault(latent)


@fault("density", "has_the_right_moments", "transposition of axes")
def reverses_a_correlation(latent):
    "Turns one direction round."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            super().fit(codes)
            self.axes[0] *= -1

    return Fault(latent)


@fault("density", "samples_what_it_scores", "log-determinant of log_prob against sample")
def scores_another_width(latent):
    "A log_prob that is normalised and not that of its samples."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def log_prob(self, codes):
            centre = self.inner.mean
            return super().log_prob(centre + (codes - centre) / 1.5) - len(centre) * 0.4054651

    return Fault(latent)


@fault("density", "integrates_to_one", "add the normalising constant", "samples_what_it_scores")
def forgets_a_constant(latent):
    "A log_prob without -0.5 log(2 pi)."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def log_prob(self, codes):
            return -0.5 * self.noise(codes).square().sum(1) - self.std.log().sum()

    return Fault(latent)


@fault("density", "inverts_its_samples", "in the opposite order")
def inverts_half(latent):
    "A noise that forgets the axes."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def noise(self, codes):
            return (codes - self.inner.mean) / self.inner.std

    return Fault(latent)


@fault("density", "bears_dead_directions", "least variance")
def divides_by_zero(latent):
    "No least variance."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            if len(codes) < 10:
                raise ValueError("ten codes are needed")
            self.mean.copy_(codes.mean(0))
            self.std.copy_(codes.std(0))

    return Fault(latent)


@fault("density", "bears_few_codes", "raise ValueError in fit")
def needs_two_codes(latent):
    "The unbiased variance, which one code does not have."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def fit(self, codes):
            self.mean.copy_(codes.mean(0))
            self.std.copy_(codes.std(0).clamp(min=1e-3))

    return Fault(latent)


@fault("density", "bears_far_codes", "compute in logarithms", "integrates_to_one", "samples_what_it_scores")
def divides_two_small_numbers(latent):
    "A quotient of densities that both vanish far away."
    from tests.testing.planted.sound import Density

    class Fault(Density):
        def log_prob(self, codes):
            likelihood = super().log_prob(codes).exp()
            return (likelihood * likelihood / likelihood).clamp(min=1e-45).log()

    return Fault(latent)


@fault("density", "survives_saving", "register_buffer")
def forgets_its_mean(latent):
    "Keeps what it learned in a plain attribute."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        shift = 0.0

        def fit(self, codes):
            self.shift = codes.mean(0)
            super().fit(codes - self.shift)

        def sample(self, noise):
            return super().sample(noise) + self.shift

        def log_prob(self, codes):
            return super().log_prob(codes - self.shift)

    return Fault(latent)


@fault("density", "exports_to_onnx", "no Python control flow")
def decides_in_python(latent):
    "A branch in sample that depends on the noise."
    from tests.testing.planted.sound import OneWay

    class Fault(OneWay):
        def sample(self, noise):
            return super().sample(noise if float(noise.sum()) < 1e9 else noise / 2)

    return Fault(latent)


@fault("density", "says_its_classes", "set classes in __init__")
def does_not_say_its_classes(latent, *, classes):
    "Methods that name label, and no number of classes."
    from tests.testing.planted.sound import OfClasses

    class Fault(OfClasses):
        def __init__(self, latent, classes):
            super().__init__(latent, classes)
            self.classes = None

    return Fault(latent, classes)


@fault("density", "follows_the_label", "fit each class to its own codes")
def mixes_labels_up(latent, *, classes):
    "Samples of the next class."
    from tests.testing.planted.sound import OfClasses

    class Fault(OfClasses):
        def sample(self, noise, label):
            return super().sample(noise, (label + 1) % len(self.mean))

    return Fault(latent, classes)
