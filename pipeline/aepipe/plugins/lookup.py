"""Discovery of plugins and look-up of components by name.

Everything that a user can name is a component, which is found through the entry-point group `aepipe`. A broken plugin never
stops the others: its errors are kept in `Plugin.errors`, and `aepipe plugins` shows them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from aepipe.errors import BadInput, closest
from aepipe.progress import say

from . import hookspecs
from .components import Choice, Component, Plugin
from .discovery import Entry, entries, normal_name
from .kinds import KINDS
from .specs import NAME, Spec, parse_spec

HOOKS = [name for name, function in vars(hookspecs).items() if hasattr(function, "aepipe_spec")]


class _Manager(pluggy.PluginManager):
    """Looks for hooks only among a module's functions. With fifty plugins, looking at all names takes longer than loading."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if isinstance(plugin, ModuleType) and type(vars(plugin).get(name)) not in (FunctionType, MethodType):
            return None
        return super().parse_hookimpl_opts(plugin, name)


class Registry:
    """All plugins and components that this environment offers."""

    def __init__(self) -> None:
        self.manager = _Manager("aepipe")
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._of_module: dict[str, Plugin] = {}
        self._components: dict[str, dict[str, list[Component]]] = {}
        first: dict[str, Entry] = {}
        for entry in entries():
            chosen = first.setdefault(entry.distribution, entry)
            if (chosen.version, chosen.place) == (entry.version, entry.place):
                self._load(entry)
            elif chosen.version != entry.version:
                self._note_twice(chosen, entry)

    def _load(self, entry: Entry) -> None:
        plugin = Plugin(entry.name, entry.distribution, entry.version)
        self.plugins.append(plugin)
        with plugin.noting(f"cannot load {entry.value}"):
            self._add(entry.load(), plugin)

    def _note_twice(self, used: Entry, other: Entry) -> None:
        found = f"{used.version} in {used.place} and {other.version} in {other.place}"
        note = f"installed twice, {found}: uninstall it until it is gone, then install it once"
        for plugin in self.plugins:
            if plugin.distribution == used.distribution and note not in plugin.errors:
                plugin.errors.append(note)

    def _add(self, module: Any, plugin: Plugin) -> None:
        key = f"{plugin.distribution}:{plugin.name}"
        if other := self.manager.get_name(module):
            raise ValueError(f"the module is loaded for {other} already; one entry point a module is enough")
        self._check_hooks(module, plugin)
        self.manager.register(module, name=key)
        self._of_module[key] = plugin

    def register(self, plugin_object: Any, name: str) -> Plugin:
        """Add a module or object with hooks to this process, without a distribution: for notebooks and tests.

        Raises ValueError when it or something of that name is registered already.
        """
        plugin = Plugin(name, name, "unreleased")
        self._add(plugin_object, plugin)
        self.plugins.append(plugin)
        for kind in self._components:
            self._collect(kind, plugin)
        return plugin

    def unregister(self, plugin: Plugin) -> None:
        """Take away what `register` added."""
        key = f"{plugin.distribution}:{plugin.name}"
        self.manager.unregister(name=key)
        del self._of_module[key]
        self.plugins.remove(plugin)
        for found in self._components.values():
            for name, claims in list(found.items()):
                found[name] = [claim for claim in claims if claim.plugin != plugin.distribution]
                if not found[name]:
                    del found[name]

    def _check_hooks(self, module: Any, plugin: Plugin) -> None:
        for attribute in dir(module):
            options = self.manager.parse_hookimpl_opts(module, attribute)
            if options is None:
                continue
            name = options["specname"] or attribute
            if name in HOOKS:
                plugin.hooks.append(name)
            else:
                plugin.errors.append(f"there is no hook {name!r}: {closest(name, HOOKS)}")

    def implementations(self, hook: str) -> Iterator[tuple[Plugin, Callable[..., Any]]]:
        """Yield each plugin with its function for a hook; the plugins that ship with aepipe come first."""
        order = list(self._of_module)  # pluggy's own order is not used: there any plugin may ask to be the first
        found = [i for i in getattr(self.manager.hook, hook).get_hookimpls() if i.plugin_name in order]
        for implementation in sorted(found, key=lambda i: order.index(i.plugin_name)):
            yield self._of_module[implementation.plugin_name], implementation.function

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook's implementations one by one. If one raises, its error is noted and the others still run."""
        for plugin, function in self.implementations(hook):
            known = len(plugin.errors)
            with plugin.noting(f"{hook} raised"):
                function(*arguments)
            for error in plugin.errors[known:]:
                say(f"warning: plugin {plugin.name} ({plugin.distribution}): {error}")

    def components(self, kind: str) -> dict[str, list[Component]]:
        """Map each name to the components that claim it; there are several if two distributions use the same name."""
        if kind not in self._components:
            self._components[kind] = {}
            self._collect(kind)
        return self._components[kind]

    def _collect(self, kind: str, only: Plugin | None = None) -> None:
        for plugin, function in self.implementations(KINDS[kind].hook):
            if only in (None, plugin):
                with plugin.noting(f"{KINDS[kind].hook} raised"):
                    function(_registrar(kind, plugin, self._components[kind]))

    def find(self, kind: str, name: str) -> Component:
        """The component of that name; raises BadInput with the closest suggestion."""
        claims = self.components(kind).get(name, [])
        if len(claims) == 1:
            return claims[0]
        if claims:
            owners = " and ".join(f"{claim.plugin} {claim.version}" for claim in claims)
            raise BadInput(
                f"{kind} {name!r} is registered by {owners}", "uninstall one, or choose with AEPIPE_LOAD_PLUGINS"
            )
        broken = sorted({plugin.distribution for plugin in self.plugins if plugin.errors})
        note = f"; broken plugins: {', '.join(broken)} (see 'aepipe plugins')" if broken else ""
        note += "; AEPIPE_LOAD_PLUGINS is set and may leave plugins out" if "AEPIPE_LOAD_PLUGINS" in os.environ else ""
        raise BadInput(f"unknown {kind} {name!r}", closest(name, self.names(kind)) + note)

    def names(self, kind: str) -> list[str]:
        return sorted(name for name, claims in self.components(kind).items() if len(claims) == 1)


def _registrar(kind: str, plugin: Plugin, found: dict[str, list[Component]]) -> Callable[..., Any]:
    """Make the function `register` that a plugin's hook is called with."""

    def register(factory: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        name = name or str(getattr(factory, "__name__", ""))
        component = Component(kind, name, factory, plugin.distribution, plugin.version)
        if not callable(factory) or not NAME.fullmatch(name):
            plugin.errors.append(f"{kind} {name!r} is not usable: a callable named like [a-z0-9][a-z0-9_-]* is needed")
            return factory
        claims = found.setdefault(name, [])
        if claims and claims[0].plugin in ("aepipe", plugin.distribution):
            plugin.errors.append(f"{component} collides with that of {claims[0].plugin}, which stays")
            return factory
        if claims:
            others = ", ".join(claim.plugin for claim in claims)
            plugin.errors.append(f"{component} collides with that of {others}: unusable until one of them goes")
        claims.append(component)
        plugin.components.append(f"{kind}:{name}")
        return factory

    return register


@cache
def registry() -> Registry:
    """The registry of this process, built on first use."""
    return Registry()


def names(kind: str) -> list[str]:
    """The usable names of one kind, sorted."""
    return registry().names(kind)


def choose(kind: str, what: str | Spec | Mapping[str, Any]) -> Choice:
    """Settle a spec string, a parsed spec or a saved record into a component with all its options.

    Raises BadInput for unknown names and options. If the plugin of a record is gone, the hint says what to install.
    """
    if isinstance(what, Mapping):
        spec = Spec(what["name"], dict(what["options"]), what.get("label"))
        component = _recorded(kind, what)
    else:
        spec = what if isinstance(what, Spec) else parse_spec(what, labels=kind == "density")
        component = registry().find(kind, spec.name)
    options = component.settle(spec.options)
    return Choice(component, options, spec.label or spec.name)


def _recorded(kind: str, record: Mapping[str, Any]) -> Component:
    """The component that a run was made with, by name and distribution; raises BadInput that says what to install."""
    origin, owner = f"{record['plugin']}=={record['version']}", normal_name(record["plugin"])
    needed, install = f"{kind} {record['name']!r} of {origin} is needed", f"pip install {origin!r}"
    claims = registry().components(kind).get(record["name"], [])
    if [claim.plugin for claim in claims] == [owner]:
        return claims[0]
    others = [claim.plugin for claim in claims if claim.plugin != owner]
    if others:
        raise BadInput(
            f"{needed}, but {' and '.join(others)} took that name", f"pip uninstall {' '.join(others)}; {install}"
        )
    if errors := [error for plugin in registry().plugins if plugin.distribution == owner for error in plugin.errors]:
        raise BadInput(f"{needed}, but it is broken: {'; '.join(errors)}", install)
    left_out = "AEPIPE_LOAD_PLUGINS" in os.environ
    raise BadInput(
        f"{needed} and not installed", install + (", and name it in AEPIPE_LOAD_PLUGINS" if left_out else "")
    )


def create(kind: str, what: str | Spec | Mapping[str, Any], *arguments: Any, **also: Any) -> Any:
    """Choose a component and call its factory, see `Choice.make`."""
    return choose(kind, what).make(*arguments, **also)
