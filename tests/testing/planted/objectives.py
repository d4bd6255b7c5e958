"""Faults of objectives."""

from __future__ import annotations

from tests.testing.planted import fault


@fault("objective", "says_how_many_features", "set features_per_latent = 1")
def does_not_say_how_many(latent):
    "Has features_per_latent = 1.0."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        features_per_latent = 1.0

    return Fault(latent)


@fault("objective", "gives_codes", "no noise in it", "uses_target", "survives_saving")
def draws_codes(latent):
    "A code with noise in it."
    import torch

    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def code(self, features):
            return features + 0.001 * torch.randn_like(features)

    return Fault(latent)


@fault("objective", "gives_losses", '{"loss": scalar')
def calls_it_otherwise(latent):
    "Gives a loss of another name."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            return {"mse": super().losses(features, decode, target)["loss"]}

    return Fault(latent)


@fault("objective", "gives_losses", "finite tensor without dimensions")
def notes_a_number(latent):
    "Gives a Python number beside the loss."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            return super().losses(features, decode, target) | {"count": len(features)}

    return Fault(latent)


@fault("objective", "gives_losses", "must depend on what the encoder gives")
def ignores_the_features(latent):
    "Trains the decoder alone."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            return super().losses(features.detach(), decode, target) | {}

    return Fault(latent)


@fault("objective", "uses_decode", "compare them with target")
def never_decodes(latent):
    "Compares features with the brightness."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            return {"loss": (features.mean(1) - target.flatten(1).mean(1)).square().mean()}

    return Fault(latent)


@fault("objective", "uses_decode", "no detach()")
def freezes_the_decoder(latent):
    "Keeps gradients from the decoder."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            import torch

            with torch.no_grad():
                decoded = decode(features)
            return {"loss": (decoded - target).square().mean() + features.square().mean()}

    return Fault(latent)


@fault("objective", "uses_target", "must rise with their distance")
def ignores_the_target(latent):
    "Makes all images dark."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            return {"loss": decode(features).square().mean()}

    return Fault(latent)


@fault("objective", "leaves_its_input", "no in-place operation")
def changes_the_target(latent):
    "Adds to the target."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            target += 0.001
            return super().losses(features, decode, target)

    return Fault(latent)


@fault("objective", "leaves_parameters_alone", "losses changes the parameter critic", "goes_on_exactly")
def trains_its_critic_itself(latent):
    "An adversary with an optimiser of its own, whose momentum nobody saves."
    import torch
    from torch import nn

    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def __init__(self):
            super().__init__(latent)
            self.critic = nn.Linear(latent, 1)
            self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=0.01)

        def losses(self, features, decode, target):
            if torch.is_grad_enabled():
                self.optimiser.zero_grad()
                noise = torch.randn_like(features)
                (self.critic(noise) - self.critic(features.detach())).mean().backward()
                self.optimiser.step()
                self.optimiser.zero_grad()
            loss = super().losses(features, decode, target)["loss"]
            return {"loss": loss + self.critic(features).mean()}

    return Fault()


@fault("objective", "leaves_parameters_alone", "losses leaves a gradient in")
def calls_backward_itself(latent):
    "Adds a gradient of its own to the decoder's."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            import torch

            if torch.is_grad_enabled():
                decode(features.detach()).square().mean().backward()
            return super().losses(features, decode, target)

    return Fault(latent)


def _adversarial(latent, players=("critic",)):
    from torch import nn

    from tests.testing.planted.sound import Objective

    class Adversarial(Objective):
        def __init__(self):
            super().__init__(latent)
            self.critic = nn.Sequential(nn.Linear(latent, 8), nn.Tanh(), nn.Linear(8, 1))
            self.players = players

        def losses(self, features, decode, target):
            import torch

            loss = super().losses(features, decode, target)["loss"]
            real, made = self.critic(torch.randn_like(features)), self.critic(features.detach())
            critic = nn.functional.softplus(made).mean() + nn.functional.softplus(-real).mean()
            return {"loss": loss + nn.functional.softplus(-self.critic(features)).mean(), "critic": critic}

    return Adversarial


@fault("objective", "has_losses_for_its_players", "set players = (")
def names_no_part(latent):
    "A player that is called otherwise."
    return _adversarial(latent, ("discriminator",))()


@fault("objective", "has_losses_for_its_players", "stands under its name")
def forgets_the_players_loss(latent):
    "No loss of the player's name."

    class Fault(_adversarial(latent)):
        def losses(self, features, decode, target):
            losses = super().losses(features, decode, target)
            return {"loss": losses["loss"], "adversary": losses["critic"]}

    return Fault()


@fault("objective", "passes_gradients", "no gradient reaches critic")
def detaches_the_player(latent):
    "A player whose own loss does not reach it; that of the others does."

    class Fault(_adversarial(latent)):
        def losses(self, features, decode, target):
            losses = super().losses(features, decode, target)
            return {**losses, "critic": losses["critic"].detach()}

    return Fault()


@fault("objective", "goes_on_exactly", "counters too", "survives_saving")
def counts_in_an_attribute(latent):
    "A penalty that grows with a count of its own."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        count = 0

        def losses(self, features, decode, target):
            import torch

            self.count += torch.is_grad_enabled()
            return {"loss": super().losses(features, decode, target)["loss"] + self.count * features.square().mean()}

    return Fault(latent)


@fault("objective", "follows_the_seed", "torch's generator", "survives_saving", "goes_on_exactly")
def draws_with_numpy(latent):
    "Adds noise that the seed does not fix."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            import numpy as np

            return super().losses(features + float(np.random.default_rng().normal()) / 100, decode, target)

    return Fault(latent)


@fault("objective", "passes_gradients", "freeze it with requires_grad_(False)")
def has_a_parameter_too_many(latent):
    "A weight that nothing uses."
    import torch
    from torch import nn

    from tests.testing.planted.sound import Objective

    objective = Objective(latent)
    objective.spare = nn.Parameter(torch.ones(1))
    return objective


@fault("objective", "trains_in_bf16", "bring both operands to one type")
def mixes_types(latent):
    "Meets bfloat16 with float32 in an operation that allows no mixture."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def losses(self, features, decode, target):
            import torch

            return {"loss": torch.lerp(decode(features), target, 2.0).square().mean()}

    return Fault(latent)


@fault("objective", "survives_saving", "register_buffer", "goes_on_exactly")
def forgets_a_tensor(latent):
    "Weighs with a plain attribute that is drawn at random."
    import torch

    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def __init__(self):
            super().__init__(latent)
            self.weight = torch.rand(1) + 0.5

        def losses(self, features, decode, target):
            return {"loss": self.weight[0] * super().losses(features, decode, target)["loss"]}

    return Fault()


@fault("objective", "exports_to_onnx", "no Python control flow")
def decides_in_python(latent):
    "A branch in code that depends on the values."
    from tests.testing.planted.sound import Objective

    class Fault(Objective):
        def code(self, features):
            return features if float(features.detach().sum()) < 1e9 else features / 2

    return Fault(latent)


@fault("objective", "bears_unknown_labels", "leave out what is unknown")
def takes_the_mean_of_none(latent):
    "A mean over the known labels, of which there may be none."
    from tests.testing.planted.sound import Classifier

    class Fault(Classifier):
        def losses(self, features, decode, target, *, labels):
            from torch.nn.functional import cross_entropy

            losses = super().losses(features, decode, target, labels=labels)
            known = cross_entropy(self.head(features).float(), labels, ignore_index=-1)
            return losses | {"class": known}

    return Fault(latent)


@fault("objective", "selects_a_metric", "name one of its metrics")
def selects_by_nothing(latent):
    "Picks the best epoch by a metric that it does not give."
    from tests.testing.planted.sound import Classifier

    class Fault(Classifier):
        selects = "accuracy"

    return Fault(latent)


@fault("objective", "gives_outputs", "for each entry of outputs")
def gives_one_tensor(latent):
    "An output that is no dict."
    from torch.nn.functional import cross_entropy

    from tests.testing.planted.sound import Classifier

    class Fault(Classifier):
        def output(self, codes):
            return self.head(codes)

        def losses(self, features, decode, target, *, labels):
            known = labels >= 0
            error = cross_entropy(self.head(features).float()[known], labels[known], reduction="sum")
            squares = (decode(features) - target).square().mean()
            return {"loss": squares + error / len(labels)}

    return Fault(latent)
