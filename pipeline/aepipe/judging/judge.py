"""A judge: an ONNX graph from images to the features in which sets of images are compared.

A judge is a classifier that is frozen after training. Two sets of images look alike to it if they lie alike in its features.
`python -m aepipe_builtins.train_judge` makes one from any data set with labels. One for MNIST ships with aepipe.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aepipe.bundle.manifest import sha256
from aepipe.bundle.onnx_file import OnnxTensor, parse_onnx
from aepipe.errors import AepipeError, BadInput, ProviderUnavailable, foreign
from aepipe.runtime.opening import open_graph
from aepipe.runtime.outputs import checked_output
from aepipe.runtime.providers import Provider, Session, brief
from aepipe.runtime.sessions import Sessions

FEATURES = "features"  # the output that is used if the graph has several
LOGITS = "logits"  # the output whose largest number says the class; a judge may have none
SHIPPED = {"mnist": "72c0fc54bccbd303816ce191217200accb21666476fe6888ef53f19a34df7521"}  # SHA-256 of the released files
TRAIN_ONE = "train one with 'python -m aepipe_builtins.train_judge --data SPEC -o FILE.onnx'"


class Judge:
    """An opened judge.

    The graph has one input, float32 images [N, C, H, W] in 0..1, and an output `features` [N, F], or one output of any
    name. An output `logits`, float32 [N, K], also says the class of an image. Raises BadInput if the file is no such
    graph, or if it takes images of another shape than `shape` (C, H, W);
    samples of other kinds have no judge.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], provider: Provider, *, threads: int | None = None):
        if not path.is_file():
            raise BadInput(f"there is no judge {str(path)!r}", TRAIN_ONE)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"the judge {path} cannot be read: {error.strerror}", "check its permissions") from error
        self.path, self._digest = path, hashlib.sha256(content).hexdigest()
        self._sessions: Sessions[str] = Sessions(lambda _: open_graph(provider, path, content, threads=threads))
        try:
            found = parse_onnx(content, path)
            _check_input(path, list(found.inputs.values()), shape)
            if found.external:
                raise BadInput(f"the judge {path} keeps weights in other files")
            self._start()
            self._classes = _is_matrix(found.outputs.get(LOGITS))
        except ProviderUnavailable:
            raise
        except AepipeError as error:  # its hint is about bundles, not about judges
            raise BadInput(error.message, TRAIN_ONE) from error
        self.note = _note(found.notes.get("judge", ""))
        (self._input,) = found.inputs

    def _start(self) -> Session:
        return self._sessions["judge"]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features [N, F] float32 of images [N, C, H, W] float32 in 0..1; raises AepipeError when the graph fails, or makes
        what are no features."""
        return self._features(self._run(images), len(images))

    def seen(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features, as above, and the classes [N] int64 that the judge takes the images for; None if it has no classes."""
        outputs = self._run(images)
        features = self._features(outputs, len(images))
        if not self._classes:
            return features, None
        return features, checked_output(outputs, LOGITS, f"the judge {self.path}", len(images), [None]).argmax(1)

    def _run(self, images: np.ndarray) -> Mapping[str, Any]:
        session = self._start()
        with foreign(f"the judge {self.path} failed", "try a smaller --batch-size", say=brief):
            return session.run({self._input: images})

    def _features(self, outputs: Mapping[str, Any], count: int) -> np.ndarray:
        name = FEATURES if FEATURES in outputs else next(iter(outputs))
        return checked_output(outputs, name, f"the judge {self.path}", count, [None])

    def as_json(self) -> dict[str, Any]:
        """Which judge this is; only figures by the same judge can be compared."""
        return {"file": self.path.name, "sha256": self._digest, **self.note}


def _check_input(path: Path, inputs: list[OnnxTensor], shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise BadInput(f"the judge {path} compares images, and the bundle's samples are of shape {list(shape)}")
    if len(inputs) != 1 or inputs[0].dtype != "float32" or inputs[0].sizes is None or len(inputs[0].sizes) != 4:
        raise BadInput(f"{path} is no judge: it does not take images [N, C, H, W] and nothing else")
    count, *sizes = inputs[0].sizes
    if count is not None:
        raise BadInput(f"the judge {path} takes {count} images at a time, and any number is needed")
    if any(own is not None and own != given for own, given in zip(sizes, shape, strict=True)):
        raise BadInput(f"the judge {path} takes images of shape {sizes}, and the bundle's are {list(shape)}")


def _is_matrix(output: OnnxTensor | None) -> bool:
    """Whether an output is float32 [N, K] with more than one column, as far as the graph says."""
    if output is None or output.dtype != "float32" or output.sizes is None:
        return False
    return len(output.sizes) == 2 and output.sizes[1] != 1


def shipped(name: str) -> Path:
    """The judge that ships with aepipe for this data; raises BadInput when it is not the one that was released."""
    path = Path(str(importlib.resources.files("aepipe_builtins") / "judges" / f"{name}.onnx"))
    if not path.is_file() or sha256(path) != SHIPPED[name]:
        raise BadInput(f"{path} is missing or altered: its SHA-256 is not the released one", "install aepipe again")
    return path


def _note(text: str) -> dict[str, Any]:
    """What `train_judge` noted in the graph; a graph from elsewhere may have no note, or one without these entries."""
    try:
        note = json.loads(text)
    except ValueError:
        return {}
    kinds = {"data": str, "accuracy": float}
    return {key: note[key] for key in kinds if isinstance(note, dict) and isinstance(note.get(key), kinds[key])}
