"""Checks of densities as modules: fitting, shapes, saving, export. Only the kit imports this file, so it may import torch."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from aepipe.errors import AepipeError, one_line
from aepipe.plugins.kinds import CLASSES

from .distributions import has_the_right_moments, integrates_to_one, inverts_its_samples, samples_what_it_scores
from .exporting import ROWS, check_graphs
from .fitting import correlated_codes, fit, fitted, labels_in_turn, made, noise_for, outputs, told, usual_latent
from .modules import check_rows, check_state_file, check_untouched, require_equal, require_tensor, seeded
from .pairs import example
from .report import Finding, NotApplicable, Refused, Subject, require

FAR = 30  # in standard deviations; the code of an image unlike all training images may lie so far away


def says_how_much_noise(subject: Subject) -> None:
    """`noise_features` is a whole number of at least one, before and after fit."""
    before, after = (each.noise_features for each in (made(subject, usual_latent(subject)), fitted(subject)))
    change = "set noise_features in __init__: how many standard-normal numbers one sample takes"
    for value in (before, after):
        whole = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
        require(whole, f"noise_features is {value!r}", change)
    require(before == after, f"noise_features changes in fit from {before} to {after}", change)


def gives_the_right_shape(subject: Subject) -> None:
    """sample gives [N, latent], log_prob [N], noise [N, k], all float32, for several code sizes and a batch of one."""
    for latent in (1, 2, 3, 8):
        try:
            density = fit(subject, example(200, latent))
        except Refused:
            continue
        for count in (1, 2, 5):
            codes, noise = example(count, latent, seed=2), noise_for(density, count)
            require_tensor(f"sample of {list(noise.shape)}", density.sample(noise), (count, latent))
            if density.log_prob is not None:
                require_tensor(f"log_prob of {list(codes.shape)}", density.log_prob(codes), (count,))
            if density.noise is not None:
                require_tensor(f"noise of {list(codes.shape)}", density.noise(codes), tuple(noise.shape))


def treats_samples_alone(subject: Subject) -> None:
    """A row of noise always gives the same code, and a code the same log-density, whatever else is in the batch."""
    density = fitted(subject)
    check_rows("sample", density.sample, noise_for(density, 4))
    for name in ("log_prob", "noise"):
        if (method := getattr(density, name)) is not None:
            check_rows(name, method, correlated_codes(usual_latent(subject), 4))


def leaves_its_input(subject: Subject) -> None:
    """fit, sample, log_prob and noise do not change what they are given."""
    density = fitted(subject)
    fresh = made(subject, usual_latent(subject))
    with seeded(0):
        check_untouched("fit", fresh.fit, correlated_codes(usual_latent(subject), 200))
    check_untouched("sample", density.sample, noise_for(density, 5))
    for name in ("log_prob", "noise"):
        if (method := getattr(density, name)) is not None:
            check_untouched(name, method, correlated_codes(usual_latent(subject), 5))


def follows_the_seed(subject: Subject) -> None:
    """Two fits under one seed give the same density, and the only random numbers it uses are those in `noise`."""
    first, second, codes = (
        fitted(subject),
        fit(subject, correlated_codes(usual_latent(subject))),
        correlated_codes(usual_latent(subject), 5),
    )
    with torch.no_grad():
        for one, again in zip(outputs(first, codes), outputs(first, codes), strict=True):
            require_equal(one, again, "two calls give different results", "take randomness from `noise` only")
        for one, other in zip(outputs(first, codes), outputs(second, codes), strict=True):
            require_equal(
                one,
                other,
                "two fits under one torch seed differ",
                "draw from torch's generator, or seed your own from it",
            )


def bears_dead_directions(subject: Subject) -> None:
    """If codes are constant in one direction or in all, everything stays finite, or fit refuses them with ValueError."""
    dead = correlated_codes(usual_latent(subject), 500)
    dead[:, 1] = 0.7
    change = "give every direction a least variance, for instance 1e-6 of the largest"
    for what, codes in (("a constant direction", dead), ("codes that are all equal", dead[:1].repeat(200, 1))):
        _finite_or_refused(subject, codes, f"with {what}", change)


def bears_few_codes(subject: Subject) -> None:
    """One, two or five codes give a density that is finite, or fit refuses them with ValueError."""
    change = "raise ValueError in fit when there are too few codes, or stay finite"
    for count in (1, 2, 5):
        _finite_or_refused(subject, correlated_codes(usual_latent(subject), count), f"fitted to {count} codes", change)


def _finite_or_refused(subject: Subject, codes: Tensor, what: str, change: str) -> None:
    try:
        density = fit(subject, codes)
    except (ValueError, AepipeError, NotApplicable):
        return
    except Exception as error:
        raise Finding(f"{what}, fit fails with {one_line(error)}", change) from error
    names = ["sample", *(name for name in ("log_prob", "noise") if getattr(density, name) is not None)]
    for name, value in zip(names, outputs(density, codes), strict=True):
        require(torch.isfinite(value).all(), f"{what}, {name} gives NaN or infinity", change)


def bears_far_codes(subject: Subject) -> None:
    """The log-density of a code far from all others is low, not NaN: the score of an unusual image is such a value."""
    density, codes = fitted(subject), correlated_codes(usual_latent(subject), 500)
    if density.log_prob is None or density.discrete:
        raise NotApplicable("it gives no log-densities")
    axes = torch.eye(codes.shape[1])
    far = codes.mean(0) + FAR * codes.std(0) * torch.cat([axes, -axes])
    with torch.no_grad():
        scores, usual = density.log_prob(far), density.log_prob(codes).mean()
    change = "compute in logarithms (logsumexp, softplus) and bound scales, so that no exponential overflows"
    require(not scores.isnan().any(), f"log_prob is NaN for codes {FAR} standard deviations away", change)
    require(
        (scores < usual).all(),
        f"log_prob of codes {FAR} standard deviations away is not lower than that of usual ones",
        change,
    )


def survives_saving(subject: Subject) -> None:
    """A density that is fitted, saved and loaded into a new module stays the same; fit may change the shapes of buffers."""
    codes = correlated_codes(usual_latent(subject), 5)
    check_state_file(fitted(subject), made(subject, usual_latent(subject), seed=2), lambda each: outputs(each, codes))


def exports_to_onnx(subject: Subject) -> None:
    """sample, log_prob and noise become ONNX graphs with a dynamic batch that compute the same."""
    density = fitted(subject)
    codes = correlated_codes(usual_latent(subject), ROWS)
    inner, labels = density.density, labels_in_turn(ROWS)
    calls = {"sample": noise_for(density, ROWS), "log_prob": codes, "noise": codes}
    there = {name: values for name, values in calls.items() if getattr(density, name) is not None}
    check_graphs(inner, there, labels=dict.fromkeys(told(inner), labels))


def says_its_classes(subject: Subject) -> None:
    """A density whose methods name `label` has an attribute `classes`, as many as it was offered; others have none."""
    density = fitted(subject).density
    classes, named = getattr(density, "classes", None), told(density)
    if not named:
        require(
            classes is None, f"it has classes = {classes!r}, and no method names label", "name label, or leave it out"
        )
        raise NotApplicable("it is told no class")
    change = "set classes in __init__ or in fit to the number that the factory is offered as `classes`"
    require(
        classes == CLASSES,
        f"its {named[0]} names label, and classes is {classes!r} where {CLASSES} were offered",
        change,
    )


def follows_the_label(subject: Subject) -> None:
    """Told a class, sample gives codes like those of that class, and log_prob is higher for them than for others."""
    if not told(fitted(subject).density):
        raise NotApplicable("it is told no class")
    latent = usual_latent(subject)
    labels = labels_in_turn(1500)
    codes = 0.3 * example(1500, latent) + 5.0 * labels[:, None]
    density = fit(subject, codes, labels=labels)
    drawn = density.given("sample", noise_for(density, 600), labels[:600])
    change = "fit each class to its own codes, and choose by `label`, row by row"
    for label in range(CLASSES):
        own = drawn[labels[:600] == label]
        far = float((own.mean(0) - 5.0 * label).abs().max())
        require(far <= 1.0, f"samples of label {label} are {far:.2g} from its codes, where classes are 5 apart", change)
    if density.log_prob is not None:
        right, wrong = (density.given("log_prob", codes, each) for each in (labels, (labels + 1) % CLASSES))
        require((right > wrong).all(), "log_prob is not higher for the right label than for a wrong one", change)


CHECKS: list[Callable[[Subject], None]] = [
    says_how_much_noise,
    gives_the_right_shape,
    treats_samples_alone,
    leaves_its_input,
    follows_the_seed,
    has_the_right_moments,
    samples_what_it_scores,
    integrates_to_one,
    inverts_its_samples,
    bears_dead_directions,
    bears_few_codes,
    bears_far_codes,
    says_its_classes,
    follows_the_label,
    survives_saving,
    exports_to_onnx,
]
