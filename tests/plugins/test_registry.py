"""The registry: how components are found, what collisions and faults do, how a plugin's name becomes an object."""

from __future__ import annotations

from pathlib import Path

import aepipe
import pytest
from aepipe import hookimpl, plugins
from aepipe.errors import AepipeError, BadInput
from aepipe.plugins import KINDS, Registry, lookup

from tests.helpers.commands import python
from tests.helpers.strangers import install

BUILT_IN = {
    "encoder": ["conv", "identity", "mlp", "pca", "resnet", "resnet-map"],
    "decoder": ["deconv", "mlp", "pca", "resnet", "resnet-map", "unet", "upsample"],
    "objective": ["charbonnier", "mse", "rae", "supervised", "vae"],
    "density": ["gaussian", "gmm", "pca"],
    "corruption": [
        *("block", "blur", "downsample", "erase", "gaussian", "jpeg", "mixed", "poisson", "saltpepper"),
    ],
    "augmentation": ["crop", "flip", "jitter", "rotate90"],
    "dataset": ["digits", "fashion-mnist", "mnist"],
    "layout": ["ort", "triton"],
    "optimiser": ["adam", "adamw", "sgd"],
    "provider": ["auto", "cpu", "cuda"],
    "reader": [],  # what needs none is read without a plugin; those of others are distributions of their own
}


@pytest.fixture
def registry(monkeypatch) -> Registry:
    """A registry of the built-ins alone, in the place of this process's."""
    monkeypatch.setenv("AEPIPE_LOAD_PLUGINS", "")
    fresh = Registry()
    for owner in (plugins, lookup):
        monkeypatch.setattr(owner, "registry", lambda: fresh)
    return fresh


class Offers:
    """A plugin made of one hook implementation."""

    def __init__(self, **factories):
        self.factories = factories

    @hookimpl
    def register_densities(self, register):
        for name, factory in self.factories.items():
            register(factory, name=name)


def flat(latent, *, width: float = 1.0):
    """Uniform on a box.

    width: of the box
    """
    return ("flat", latent, width)


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_built_ins_come_through_entry_points(registry, kind: str):
    assert registry.names(kind) == BUILT_IN[kind]
    for name in BUILT_IN[kind]:
        component = registry.find(kind, name)
        assert (component.plugin, component.version) == ("aepipe", aepipe.__version__)
        assert component.help.endswith(".") or component.help, name
    assert not [plugin.errors for plugin in registry.plugins if plugin.errors]


def test_every_hook_is_used_by_the_built_ins(registry):
    used = {hook for plugin in registry.plugins for hook in plugin.hooks}
    kinds = {kind.hook for name, kind in KINDS.items() if BUILT_IN[name]}
    assert used == {*kinds, "register_commands", "epoch_finished"}


@pytest.mark.parametrize("kind", list(KINDS))
def test_options_are_documented(registry, kind: str):
    for name in BUILT_IN[kind]:
        for option in registry.find(kind, name).options:
            assert option.help and not option.required, f"{kind} {name}: {option.name}"


def test_a_plugin_registered_at_run_time_is_like_any_other(registry):
    registry.names("density")  # looked up before: the cache must not hide what comes later
    added = registry.register(Offers(flat=flat), "mine")
    assert "flat" in plugins.names("density")
    assert plugins.create("density", "box=flat:width=3", 4) == ("flat", 4, 3.0)
    choice = plugins.choose("density", "box=flat:width=3")
    assert (choice.label, choice.options) == ("box", {"width": 3.0})
    assert choice.record() == {"name": "flat", "options": {"width": 3.0}, "plugin": "mine", "version": "unreleased"}
    assert added.components == ["density:flat"] and added.hooks == ["register_densities"]
    with pytest.raises(ValueError):
        registry.register(Offers(), "mine")
    registry.unregister(added)
    assert registry.names("density") == BUILT_IN["density"] and added not in registry.plugins


def test_a_record_is_chosen_again(registry):
    record = plugins.choose("encoder", "mlp:hidden=16/8").record()
    assert record["options"] == {"hidden": (16, 8)}
    assert plugins.choose("encoder", {**record, "options": {"hidden": [16, 8]}}).options == {"hidden": (16, 8)}


def test_a_record_of_a_plugin_that_is_gone_says_what_to_install(registry):
    with pytest.raises(BadInput, match=r"density 'flow' of aepipe-flow==1.2 is needed") as caught:
        plugins.choose("density", {"name": "flow", "options": {}, "plugin": "aepipe-flow", "version": "1.2"})
    assert "pip install 'aepipe-flow==1.2'" in caught.value.hint


@pytest.mark.parametrize(("kind", "name", "near"), [("encoder", "cnov", "conv"), ("corruption", "gausian", "gaussian")])
def test_unknown_names_suggest_the_closest(registry, kind: str, name: str, near: str):
    with pytest.raises(BadInput, match=f"unknown {kind} '{name}'") as caught:
        plugins.create(kind, name)
    assert f"did you mean {near!r}" in caught.value.hint and all(each in caught.value.hint for each in BUILT_IN[kind])


def test_built_ins_stay_when_a_stranger_takes_their_name(registry):
    stranger = registry.register(Offers(gaussian=flat), "stranger")
    assert registry.find("density", "gaussian").plugin == "aepipe"
    assert "collides" in stranger.errors[0] and "aepipe" in stranger.errors[0]


def test_strangers_that_collide_are_unusable_until_one_goes(registry):
    first = registry.register(Offers(flat=flat, round=flat), "first")
    second = registry.register(Offers(flat=flat), "second")
    assert registry.names("density") == sorted([*BUILT_IN["density"], "round"])
    with pytest.raises(BadInput, match=r"first .* and second"):
        registry.find("density", "flat")
    assert "first" in second.errors[0] and not first.errors
    registry.unregister(second)
    assert registry.find("density", "flat").plugin == "first"


def test_a_name_twice_in_one_plugin_keeps_the_first(registry):
    class Twice:
        @hookimpl
        def register_densities(self, register):
            register(flat, name="flat")
            register(lambda latent: None, name="flat")

    plugin = registry.register(Twice(), "twice")
    assert registry.find("density", "flat").factory is flat and "collides" in plugin.errors[0]


@pytest.mark.parametrize("name", ["Flat", "a b", "é", "x:y", "-x", ""])
def test_names_that_no_spec_can_hold_are_left_out(registry, name: str):
    plugin = registry.register(Offers(**{name: flat, "fine": flat}), "odd")
    assert "fine" in registry.names("density")
    assert plugin.components[-1] == "density:fine"
    assert plugin.errors or name == ""  # without a name the function's own is taken


def test_a_misspelt_hook_is_named(registry):
    class Misspelt:
        @hookimpl
        def register_encoder(self, register):
            raise AssertionError

    plugin = registry.register(Misspelt(), "misspelt")
    assert "register_encoder'" in plugin.errors[0] and "did you mean 'register_encoders'" in plugin.errors[0]
    assert registry.names("encoder") == BUILT_IN["encoder"]


def test_a_hook_that_raises_stops_no_other(registry):
    class Raises:
        @hookimpl
        def register_densities(self, register):
            register(flat, name="before")
            raise RuntimeError("out of\norder")

    broken = registry.register(Raises(), "broken")
    registry.register(Offers(flat=flat), "works")
    assert {"before", "flat", "gaussian"} <= set(registry.names("density"))
    assert broken.errors == ["register_densities raised: RuntimeError: out of order"]
    with pytest.raises(BadInput) as caught:
        registry.find("density", "nothing")
    assert "broken plugins: broken" in caught.value.hint


def test_factories_that_raise(registry):
    def refuses(latent):
        raise ValueError("only even sizes")

    def breaks(latent):
        return 1 / 0

    registry.register(Offers(refuses=refuses, breaks=breaks), "mine")
    with pytest.raises(BadInput, match="density 'refuses': only even sizes"):
        plugins.create("density", "refuses", 3)
    with pytest.raises(AepipeError, match="density 'breaks' of mine unreleased failed: ZeroDivisionError") as caught:
        plugins.create("density", "breaks", 3)
    assert caught.value.exit_code == 1 and "mine" in caught.value.hint


PLUGIN = """
from aepipe import hookimpl

@hookimpl
def register_encoders(register):
    register(thing)

def thing(shape, features):
    "A thing."
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch) -> Path:
    for name in ("aepipe-good", "aepipe-other"):
        code = PLUGIN.replace("thing", name.removeprefix("aepipe-"))
        install(tmp_path, name, code, version="0.3", entry=name.replace("-", "_"))
    install(tmp_path, "aepipe-bad", "import nothing_of_that_name", version="0.3")
    install(tmp_path, "aepipe-exits", "raise SystemExit(3)", version="0.3")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_one_bad_distribution_never_stops_the_rest(installed: Path, monkeypatch):
    monkeypatch.delenv("AEPIPE_LOAD_PLUGINS", raising=False)
    registry = Registry()
    assert {"good", "other", "conv"} <= set(registry.names("encoder"))
    found = {plugin.distribution: plugin for plugin in registry.plugins}
    assert found["aepipe-good"].version == "0.3" and not found["aepipe-good"].errors
    assert "nothing_of_that_name" in found["aepipe-bad"].errors[0]
    assert "SystemExit" in found["aepipe-exits"].errors[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", set()), ("aepipe-good", {"good"}), ("AEPIPE_Good, aepipe.other", {"good", "other"}), ("nothing", set())],
)
def test_loading_can_be_restricted(installed: Path, monkeypatch, value: str, expected: set[str]):
    monkeypatch.setenv("AEPIPE_LOAD_PLUGINS", value)
    registry = Registry()
    assert set(registry.names("encoder")) == {*BUILT_IN["encoder"], *expected}
    assert "aepipe-bad" not in {plugin.distribution for plugin in registry.plugins}


def test_discovery_imports_no_torch():
    code = (
        "import sys; from aepipe import plugins; [plugins.names(kind) for kind in plugins.KINDS if kind != 'provider']; "
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = python(code, check=True)
    assert done.stdout.strip() == "[]"
