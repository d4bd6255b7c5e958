"""Networks of the user's own in the place of plugins: torch modules as they are, of which a run holds the weights, not the code."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from aepipe import plugins
from aepipe.errors import DEBUG, BadInput, foreign

KINDS = ("encoder", "decoder")
WANTED = "the encoder takes float32 [N, C, *sides] and gives codes [N, d] or maps, the decoder goes back"


def is_own(record: Any) -> bool:
    """Whether the record of a component is that of a module which no plugin made."""
    return isinstance(record, Mapping) and record["plugin"] is None


def record_of_module(module: nn.Module) -> dict[str, Any]:
    """What a run or a bundle says of a module which no plugin made: the name of its class."""
    return {"name": type(module).__name__, "options": {}, "plugin": None, "version": None}


def own_modules(**given: Any) -> dict[str, nn.Module]:
    """Those of encoder and decoder that are given; raises BadInput for what is no torch module."""
    return {kind: checked_module(what, kind) for kind, what in given.items() if what is not None}


def checked_module(module: Any, name: str) -> nn.Module:
    """The module itself, without the wrapper of torch.compile; raises BadInput for what cannot be trained and exported."""
    module = uncompiled(module)
    if isinstance(module, type) and issubclass(module, nn.Module):
        hint = f"give a module that is made already: {module.__name__}(…)"
        raise BadInput(f"the {name} is the class {module.__name__}, not a torch module", hint)
    if not isinstance(module, nn.Module):
        hint = "give a torch.nn.Module, or the name of a plugin"
        raise BadInput(f"the {name} is a {type(module).__name__}, not a torch module", hint)
    if holds_script(module):
        hint = "give the module that it was made of"
        raise BadInput(f"the {name} holds a torch.jit.ScriptModule, which torch.onnx cannot export", hint)
    tensors = [*module.parameters(), *module.buffers()]
    if any(map(is_lazy, tensors)):
        raise BadInput(f"the {name} has lazy layers that have seen no image yet", "train it, or run it on a batch")
    if any(each.is_meta for each in tensors):
        raise BadInput(f"the {name} has weights on the device 'meta', which holds no numbers", "load its weights")
    return module


def holds_script(module: nn.Module) -> bool:
    """Whether it, or a module inside it, is TorchScript."""
    return any(isinstance(each, torch.jit.ScriptModule) for each in module.modules())


def uncompiled(module: Any) -> Any:
    """What torch.compile has wrapped; anything else as it is."""
    return getattr(module, "_orig_mod", module) if type(module).__name__ == "OptimizedModule" else module


def uncompile(module: nn.Module) -> None:
    """Take away, in place, what torch.compile has made of a module and of those inside it."""
    for owner in list(module.modules()):
        owner._compiled_call_impl = None
        for name, child in list(owner._modules.items()):
            owner._modules[name] = uncompiled(child)


def copies(components: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Copies of those components that are modules, in float32 on the CPU. They are copied together, so that weights which two
    of them share are shared by the copies. The user's modules stay as they are."""
    own = {kind: what for kind, what in components.items() if isinstance(what, nn.Module)}
    hint = "give one that copy.deepcopy can copy: with torch.nn.utils.parametrizations.weight_norm, not the older weight_norm"
    with foreign(f"the {' and '.join(own)} of your own cannot be copied", hint, kind=BadInput):
        copied = copy.deepcopy(own)
        for module in copied.values():
            uncompile(module.cpu().float())
    return copied


def named(kind: str, what: Any) -> tuple[str, str]:
    """What messages call a component, given as a module, a spec or a record, and the way out where its code fails."""
    if isinstance(what, nn.Module):
        return f"the {kind} {type(what).__name__}", f"{WANTED}; {DEBUG}"
    component = plugins.choose(kind, what).component
    return str(component), component.report
