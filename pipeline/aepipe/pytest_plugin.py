"""`pytest --aepipe-conformance DISTRIBUTION`: the conformance kit as test items, one for each component and check.

This module is installed with aepipe, so that every pytest in the environment loads it. Without the option it does nothing and
imports only pytest. With the option, and no paths on the command line, pytest runs nothing but the kit.
`--aepipe-spec KIND:SPEC` checks a component with options other than its defaults; it may be given several times.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aepipe.plugins.lookup import Registry

    from .testing import Subject

OPTION, SPEC = "--aepipe-conformance", "--aepipe-spec"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aepipe", "conformance of aepipe plugins")
    group.addoption(
        OPTION,
        action="append",
        default=[],
        metavar="DISTRIBUTION",
        help="check everything that an installed distribution registers with aepipe",
    )
    group.addoption(
        SPEC,
        action="append",
        default=[],
        metavar="KIND:SPEC",
        help="check a component with these options, for instance encoder:wavelet:levels=2",
    )


def pytest_configure(config: pytest.Config) -> None:
    named, specs = config.getoption(OPTION), config.getoption(SPEC)
    if specs and not named:
        raise pytest.UsageError(f"{SPEC} needs {OPTION} DISTRIBUTION")
    if named:
        config.pluginmanager.register(Conformance(named, specs), "aepipe-conformance")
        if config.args_source is not config.ArgsSource.ARGS:
            config.args = []


class Conformance:
    """The plugin that the option turns on: it adds the checks to pytest's items. Raises UsageError if it cannot check."""

    def __init__(self, named: list[str], specs: list[str]):
        from .errors import AepipeError

        try:
            self.cases = {name: list(_cases(name, specs)) for name in dict.fromkeys(named)}
            _refuse_strangers(self.cases, specs)
        except AepipeError as error:
            raise pytest.UsageError(str(error)) from error
        except ImportError as error:
            raise pytest.UsageError(f"the conformance kit needs {error.name}: pip install 'aepipe[train]'") from error

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        for name, cases in self.cases.items():
            collector = Distribution.from_parent(session, name=name, nodeid=name)
            collector.cases = cases
            items.extend(session.genitems(collector))


Case = tuple[str, Callable[[], None]]


def _cases(distribution: str, specs: list[str]) -> Iterator[Case]:
    """Name and call of every check of what a distribution registers. Raises BadInput when it is unknown or broken."""
    from aepipe.plugins import KINDS, registry
    from aepipe.testing.factories import imports_light_module

    from .testing import checks_of, run_check

    offered = registry()
    components = [c for kind in KINDS for claims in offered.components(kind).values() for c in claims]
    plugins = _plugins_of(offered, distribution)
    for plugin in plugins:
        loaded: Any = offered.manager.get_plugin(f"{plugin.distribution}:{plugin.name}")
        module = loaded.__name__ if isinstance(loaded, ModuleType) else loaded.__module__
        yield f"plugin:{plugin.name}:imports_light", partial(imports_light_module, module)
    for component in components:
        if component.plugin != plugins[0].distribution:
            continue
        for text, subject in _subjects(component, specs):
            for name, check in checks_of(component.kind).items():
                yield f"{text}:{name}", partial(run_check, check, subject)


def _plugins_of(offered: Registry, distribution: str) -> list[Any]:
    from aepipe.plugins.discovery import normal_name

    from .errors import BadInput, closest

    known = sorted({normal_name(plugin.distribution) for plugin in offered.plugins})
    plugins = [plugin for plugin in offered.plugins if normal_name(plugin.distribution) == normal_name(distribution)]
    if not plugins:
        message = f"no installed distribution {distribution!r} registers with aepipe"
        raise BadInput(message, f"install it, and mind AEPIPE_LOAD_PLUGINS; {closest(distribution, known)}")
    errors = [f"{plugin.name}: {error}" for plugin in plugins for error in plugin.errors]
    if errors:
        raise BadInput(
            f"{distribution} is broken: {'; '.join(errors)}", "mend this first; 'aepipe plugins' shows it too"
        )
    return plugins


def _subjects(component: Any, specs: list[str]) -> Iterator[tuple[str, Subject]]:
    """Yield the component once for each spec that names it, with that spec's options; without a spec, once with defaults."""
    from aepipe.plugins.specs import parse_spec

    from .testing import Subject

    found = False
    for text in specs:
        kind, _, spec = text.partition(":")
        parsed = parse_spec(spec)
        if (kind, parsed.name) == (component.kind, component.name):
            found = True
            given = component.settle(parsed.options)
            options = {name: given[name] for name in parsed.options}
            yield text, Subject(component.kind, component.factory, options, component.name)
    if not found:
        yield f"{component.kind}:{component.name}", Subject(component.kind, component.factory, {}, component.name)


def _refuse_strangers(cases: dict[str, list[Case]], specs: list[str]) -> None:
    from .errors import BadInput

    names = {name.rpartition(":")[0] for group in cases.values() for name, _ in group}
    for spec in specs:
        if spec not in names:
            hint = f"write KIND:NAME:key=value; there are: {', '.join(sorted(name for name in names if name[:7] != 'plugin:'))}"
            raise BadInput(f"{SPEC} {spec!r} names no component of {', '.join(cases)}", hint)


class Distribution(pytest.Collector):
    """The collector of one distribution's checks."""

    cases: list[Case]

    def collect(self) -> Iterator[pytest.Item]:
        for name, call in self.cases:
            item = CheckItem.from_parent(self, name=f"conformance[{name}]")
            item.call = call
            yield item


class CheckItem(pytest.Item):
    """One check of one component."""

    call: Callable[[], None]

    def runtest(self) -> None:
        from .testing import NotApplicable

        try:
            self.call()
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a finding in its own words and, if an error caused it, the traceback of that error below."""
        from .testing import Finding

        if not isinstance(excinfo.value, Finding):
            return super().repr_failure(excinfo, style)
        cause = excinfo.value.__cause__
        behind = "" if cause is None else "\n\n" + "".join(traceback.format_exception(cause))
        return f"{excinfo.value.wrong}\n{excinfo.value.change}{behind}"

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, self.name
