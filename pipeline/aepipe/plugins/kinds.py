"""The kinds of component: what the hook is called, what a factory is called with, and how it is tried and checked.

A new kind is one entry here, its hook in hookspecs.py, and a module of checks in aepipe.testing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aepipe.space import Size

# Of samples that a factory is likely to accept: images, then signals, volumes and rows.
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 64), (2, 40), (1, 8, 8, 8), (12,))
LATENTS = (3, 4, 8)  # sizes of a code that it is likely to accept
REBUILD = {"rebuild": False}  # True where saved weights will be loaded into what the factory makes
CLASSES = 3  # that labels tell apart
SIZE = 4  # numbers in a code, or features, beside those shapes


class SomeParameters:
    """(name, parameter) pairs of a small network, to try an optimiser with. They are made when they are asked for."""

    def __init__(self) -> None:
        self._pairs: list[tuple[str, Any]] = []

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        if not self._pairs:
            from torch import nn

            parts = {"encoder": nn.Linear(3, 2), "decoder": nn.Linear(2, 3)}
            self._pairs = list(nn.ModuleDict(parts).named_parameters())
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return "parameters"


@dataclass(frozen=True)
class Kind:
    """One kind of component."""

    plural: str
    positional: tuple[str, ...]  # what every factory is called with; its options are keyword-only
    examples: tuple[tuple[Any, ...], ...]  # positional arguments to try it with, the most usual ones first
    checks: str  # module of aepipe.testing that holds its checks
    needs_torch: bool = False  # its factory makes a torch module
    also: Mapping[str, Any] = field(default_factory=dict)  # what it gets if it names it, and a value to try it with
    caution: str = ""  # what the author has to know who runs its checks

    @property
    def hook(self) -> str:
        return f"register_{self.plural}"

    @property
    def known(self) -> frozenset[str]:
        """Names of parameters that can be no options."""
        return frozenset((*self.positional, *self.also))


# Codes that are vectors, then maps, then as large as the sample.
_TRIED = (
    *((Size(SIZE), shape) for shape in SHAPES),
    *((Size(SIZE, *(side // 8 for side in shape[1:])), shape) for shape in ((3, 32, 32), (1, 64), (1, 8, 8, 8))),
    *((Size(*shape), shape) for shape in SHAPES),
)
_LATENTS = tuple((latent,) for latent in LATENTS)
KINDS = {
    "encoder": Kind(
        "encoders", ("shape", "features"), tuple((shape, code) for code, shape in _TRIED), "networks", True, REBUILD
    ),
    "decoder": Kind("decoders", ("latent", "shape"), _TRIED, "networks", True, REBUILD),
    "objective": Kind(
        "objectives", ("latent",), _LATENTS, "objectives", True, {"shape": SHAPES[0], "classes": CLASSES, **REBUILD}
    ),
    "density": Kind(
        "densities",
        ("latent",),
        _LATENTS,
        "densities",
        True,
        {"classes": CLASSES, **REBUILD},
        "It is fitted about fifteen times, to at most 2,000 codes: give options that make this quick.",
    ),
    "optimiser": Kind("optimisers", ("parameters", "lr"), ((SomeParameters(), 1e-3),), "optimisers", True),
    "corruption": Kind("corruptions", (), ((),), "corruptions"),
    "augmentation": Kind("augmentations", (), ((),), "augmentations"),
    "dataset": Kind("datasets", (), ((),), "datasets", caution="The data must be there, or in reach."),
    "reader": Kind("readers", ("path",), (("no-such-file",),), "readers"),
    "layout": Kind(
        "layouts", (), ((),), "layouts", caution="A small bundle is exported for it, which takes some seconds."
    ),
    "provider": Kind(
        "providers", (), ((),), "providers", caution="Where it is not available, only how it says so is checked."
    ),
}
