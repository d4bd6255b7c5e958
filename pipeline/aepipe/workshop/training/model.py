"""The model in torch: encoder, objective and decoder around a standardised space; saving and loading tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe._types import Shape
from aepipe.errors import AepipeError, BadInput, foreign
from aepipe.files.regular import read_regular
from aepipe.files.staged import replacing
from aepipe.plugins.calling import call
from aepipe.space import Size

from .own import copies, named
from .players import players_of


class Autoencoder(nn.Module):
    """Turns samples into codes and back; the networks themselves see standardised samples.

    `mean` and `std` are the scalar mean and standard deviation of the training samples, which lie in 0..1 if they are
    `bounded`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module,
        decoder: nn.Module,
        mean: float,
        std: float,
        *,
        bounded: bool = True,
    ):
        super().__init__()
        self.encoder, self.objective, self.decoder, self.bounded = encoder, objective, decoder, bounded
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))

    @property
    def multiple(self) -> int | None:
        """Of what the sides of samples have to be multiples, where both networks say that they take any; else None."""
        said = [getattr(part, "multiple", None) for part in (self.encoder, self.decoder)]
        found = [each for each in said if isinstance(each, int) and each > 0]
        return math.lcm(*found) if len(found) == len(said) else None

    def standardise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def encode(self, images: Tensor) -> Tensor:
        """Samples [N, C, *sides] to codes [N, *latent.shape]."""
        return self.objective.code(self.encoder(self.standardise(images)))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [N, *latent.shape] to samples [N, C, *sides], clipped to 0..1 if they are bounded."""
        made = self.decoder(codes) * self.std + self.mean
        return made.clamp(0, 1) if self.bounded else made

    @property
    def outputs(self) -> dict[str, int]:
        """What the objective gives beside the code: name to size."""
        return {str(name): int(size) for name, size in (getattr(self.objective, "outputs", None) or {}).items()}

    def output(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Those outputs, [N, size] each, of codes."""
        made = self.objective.output(codes)
        return tuple(made[name] for name in self.outputs)

    def losses(self, images: Tensor, target: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """What the objective makes of a batch; it gets what its `losses` names.

        `images` may be spoiled, `target` is clean; `labels` are int64 [N], -1 where unknown, and None where the data have none.
        """
        given = self.standardise(images)
        arguments = {"features": self.encoder(given), "decode": self.decoder, "target": self.standardise(target)}
        also: dict[str, Any] = {"images": given, "encode": self._encode_standardised}
        also |= {"mean": self.mean, "std": self.std, "shape": tuple(images.shape[1:])}
        if labels is not None:
            also["labels"] = labels
        return call(self.objective.losses, arguments, also=also)

    def _encode_standardised(self, images: Tensor) -> Tensor:
        return self.objective.code(self.encoder(images))


def build(
    components: Mapping[str, Any],
    shape: Shape,
    latent: int,
    mean: float,
    std: float,
    *,
    bounded: bool = True,
    rebuild: bool = False,
    classes: int | None = None,
) -> Autoencoder:
    """Build the model from specs or records of "encoder", "decoder" and "objective", or from copies of modules in their place.

    `rebuild` if saved weights follow. `classes` is how many the labels of the data tell apart, None where there are no labels.
    """
    latent = latent if isinstance(latent, Size) else Size(latent)
    also = {"shape": shape, "classes": classes, "rebuild": rebuild}
    objective = plugins.create("objective", components["objective"], latent, **also)
    features = latent.times(objective.features_per_latent)
    own = copies(components)

    def network(kind: str, *arguments: Any) -> nn.Module:  # an empty nn.Sequential is false, and a module all the same
        return own[kind] if kind in own else plugins.create(kind, components[kind], *arguments, rebuild=rebuild)

    encoder = network("encoder", shape, features)
    if hasattr(encoder, "fit") and objective.features_per_latent != 1:
        name, loss = (named(kind, components[kind])[0] for kind in ("encoder", "objective"))
        hint = "use --objective mse, or an encoder that is trained by gradient"
        raise BadInput(f"{name} is fitted in closed form and cannot be used with {loss}", hint)
    decoder = network("decoder", latent, shape)
    learner = plugins.choose("objective", components["objective"]).component
    with foreign(f"{learner} of {learner.plugin} is no objective", learner.report):
        players_of(objective)
    model = Autoencoder(encoder, objective, decoder, mean, std, bounded=bounded)
    _try_once(model, components, shape, latent)
    return model


def selected_by(objective: nn.Module, row: Mapping[str, Any]) -> str:
    """The metric of an epoch whose lowest value picks the best one; where nothing is trained by gradient, the error."""
    return str(getattr(objective, "selects", "validation_mse")) if "loss" in row else "validation_mse"


@torch.no_grad()
def settled_code(wanted: Size | None, encoder: Any, shape: Shape) -> Size:
    """The size of codes: that which is wanted, of None the sample's own; a number is the channels of an encoder that makes maps."""
    if wanted is None:
        return Size(*shape)
    if wanted.spatial:
        return wanted
    network = plugins.create("encoder", encoder, shape, wanted).eval()
    features = _made("encoder", encoder, network, torch.zeros(2, *shape))
    return Size(*features.shape[1:]) if features.ndim > 2 else wanted


@torch.no_grad()
def own_code(encoder: nn.Module, objective: Any, shape: Shape, classes: int | None) -> Size:
    """The size of the codes that a module of the user's own makes of samples [C, *sides]; raises BadInput where it makes none."""
    features = _made("encoder", encoder, copies({"encoder": encoder})["encoder"].eval(), torch.zeros(2, *shape))
    name, way_out = named("encoder", encoder)
    if features.ndim < 2 or len(features) != 2:
        raise BadInput(
            f"{name} made {list(features.shape)} of {[2, *shape]}, where codes [2, d] or maps are needed", way_out
        )
    each = plugins.create("objective", objective, 1, shape=shape, classes=classes).features_per_latent
    channels, *sides = features.shape[1:]
    if channels % each:
        message = f"{name} makes {channels} features, and the objective takes {each} for each number of a code"
        raise BadInput(message, f"give an encoder that makes {each} times as many features as a code has numbers")
    return Size(channels // each, *sides)


@torch.no_grad()
def _try_once(model: Autoencoder, components: Mapping[str, Any], shape: Shape, latent: Size) -> None:
    """Run two images through the model, so that a component with a wrong output shape is named before training starts."""
    model.eval()
    value = torch.zeros(2, *shape)
    wanted = latent.times(model.objective.features_per_latent).shape, latent.shape, shape
    calls = model.encoder, model.objective.code, model.decoder
    for kind, part, sizes in zip(("encoder", "objective", "decoder"), calls, wanted, strict=True):
        result = _made(kind, components[kind], part, value)
        if list(result.shape) != [2, *sizes]:
            name, way_out = named(kind, components[kind])
            message = f"{name} made {list(result.shape)} of {list(value.shape)}, {[2, *sizes]} is needed"
            raise _fault(components[kind])(message, way_out)
        value = result
    model.train()


def _made(kind: str, what: Any, call: Callable[[Tensor], Any], given: Tensor) -> Tensor:
    """What a component, which messages name, makes of some samples or codes; raises what `_fault` says."""
    name, way_out = named(kind, what)
    with foreign(f"{name} failed on {list(given.shape)}", way_out, kind=_fault(what)):
        made = call(given)
    if not isinstance(made, Tensor):
        raise _fault(what)(
            f"{name} made a {type(made).__name__} of {list(given.shape)}, where one tensor is needed", way_out
        )
    return made


def _fault(what: Any) -> type[AepipeError]:
    """Whose fault it is where a component does not work: the user's, or that of the plugin's authors."""
    return BadInput if isinstance(what, nn.Module) else AepipeError


def fit_closed_forms(model: Autoencoder, images: Iterable[Tensor]) -> bool:
    """Fit the networks that have a closed form and freeze them; True if anything was fitted.

    `images` is an iterable of standardised batches, the same in each iteration. A decoder's `fit` is used only if the encoder is
    fitted too: it is a regression on the codes, which must not change any more.
    """
    if not hasattr(model.encoder, "fit"):
        return False
    with torch.no_grad():
        model.encoder.fit(images)
        model.encoder.requires_grad_(False)
        if hasattr(model.decoder, "fit"):
            codes = torch.cat([model.objective.code(model.encoder(batch)) for batch in images])
            model.decoder.fit(codes, images)
            model.decoder.requires_grad_(False)
    return True


def as_tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor. A read-only array, such as a memory-mapped one, is copied, because torch would warn."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able mapping as one safetensors file, whole or not at all."""
    from safetensors.torch import save

    flat: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat[name] = tensor.detach().cpu().contiguous()
        memory = flat[name].untyped_storage().data_ptr()
        if memory in seen:  # tied weights share memory, which the format does not allow
            flat[name] = flat[name].clone()
        seen.add(memory)
    # save_file is not used, because it leaves its own temporary files behind when it is killed.
    content = save(flat, metadata={"aepipe": json.dumps(notes)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; raises BadInput when the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = read_regular(path)  # safetensors opens no path that is not UTF-8
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, json.loads(header["__metadata__"]["aepipe"])
    except FileNotFoundError:
        raise BadInput(f"{path} is missing", "train the run again, or resume it") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} cannot be read: {' '.join(str(error).split())[:300]}", "it is damaged; train the run again"
        ) from None


MADE_BY_PLUGIN = "the plugin that made it has changed; install the version that the run names"


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], what: str, hint: str = MADE_BY_PLUGIN) -> None:
    """Load a state dict; buffers are resized first, because the shape of some is known only after fitting."""
    for name, buffer in list(module.named_buffers()):
        if name in tensors and tensors[name].shape != buffer.shape:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, torch.empty_like(tensors[name], device=buffer.device))
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise BadInput(f"{what} does not fit its saved tensors: {' '.join(str(error).split())[:300]}", hint) from None


def frozen(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, on the CPU, without gradients: ready for codes, densities and export."""
    return module.eval().requires_grad_(False).cpu()
