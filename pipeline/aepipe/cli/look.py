"""The commands that only show something: inspect, list, plugins, doctor."""

from __future__ import annotations

from typing import Any

import click

from aepipe import plugins as registry_of
from aepipe.errors import AepipeError, closest
from aepipe.tables import print_table

from .new import new
from .options import check_effect, json_option, print_json


@click.command(epilog="Example: aepipe inspect exported/mnist-d8 --json")
@click.argument("bundle")
@json_option
def inspect(bundle: str, as_json: bool) -> None:
    """What a BUNDLE holds, and whether it is undamaged.

    Exits 2 if a file is missing, altered or from another training.
    """
    from aepipe.bundle.reader import Bundle

    opened = Bundle(bundle)
    problems = opened.problems()
    if as_json:
        print_json({**opened.manifest.entries(), "problems": problems})
    else:
        _describe(opened, problems)
    if problems:
        raise AepipeError(f"the bundle is damaged: {'; '.join(problems.values())}", "export it again", exit_code=2)


def _describe(opened: Any, problems: dict[str, str]) -> None:
    from aepipe.bundle.card import carried
    from aepipe.bundle.manifest import MANIFEST

    data, classes = opened.manifest.data, opened.manifest.classes

    def told(density: str) -> str:
        """A density, and what is peculiar about it."""
        marks = ["with label"] if opened.takes_label("sample", density) else []
        marks += [] if opened.has("log_prob", density) else ["no log_prob"]
        return density + (f" ({', '.join(marks)})" if marks else "")

    values = "unbounded" if data.range is None else "0..1"
    raw = f", raw {data.raw.dtype} {data.raw}" if data.raw else ""
    rows = [
        ["name", opened.name],
        ["made by", f"aepipe {opened.manifest.aepipe}"],
        [data.kind, f"{opened.space}, {values}{raw}"],
        ["latent", str(opened.latent)],
        ["task", opened.task],
        ["trained on", str(opened.trained.get("data"))],
        ["carries of it", carried(opened.directory, opened.manifest)],
        ["densities", ", ".join(map(told, opened.densities)) or "none"],
        *([["classes", f"{opened.manifest.classes}: label 0 to {opened.manifest.classes - 1}"]] if classes else []),
        ["precisions", ", ".join(opened.precisions)],
    ]
    rows += [[name, f"{x:.6g}" if isinstance(x, float) else str(x)] for name, x in opened.manifest.metrics.items()]
    print_table(["", ""], rows)
    click.echo()

    def shapes(tensors: dict[str, Any]) -> str:
        marks = {name: "" if each.dtype == "float32" else f"{each.dtype} " for name, each in tensors.items()}
        return ", ".join(f"{name} {marks[name]}[{', '.join(map(str, each.shape))}]" for name, each in tensors.items())

    def row(file: str, *ends: str) -> list[str]:
        path = opened.directory / file
        size = f"{path.stat().st_size:,}" if path.is_file() else "missing"
        return [file, *ends, size, "DAMAGED" if file in problems else "ok" if file in hashed else "no SHA-256"]

    beside = opened.manifest.files or {}
    hashed = {*beside, *(graph.file for graph in opened.graphs)}
    files = [row(graph.file, shapes(graph.inputs), shapes(graph.outputs)) for graph in opened.graphs]
    graphs = {graph.file for graph in opened.graphs}
    others = [
        file for file in opened.files if file not in graphs and (file in beside or (opened.directory / file).is_file())
    ]
    print_table(["graph", "input", "output", "bytes", "state"], files)
    click.echo()
    print_table(["beside the graphs", "bytes", "state"], [row(file) for file in others if file != MANIFEST])


@click.command(
    "list",
    help=f"""Everything that has a name: encoders, densities, data sets, …

    KIND is one of {", ".join(registry_of.KINDS)}; with a NAME the options are shown.
    """,
    epilog="Examples: aepipe list · aepipe list density · aepipe list encoder conv",
)
@click.argument("kind", required=False)
@click.argument("name", required=False)
@json_option
def list_components(kind: str | None, name: str | None, as_json: bool) -> None:
    from aepipe.errors import BadInput

    kinds = list(registry_of.KINDS)
    singular = {each.plural: name for name, each in registry_of.KINDS.items()}
    kind = singular.get(kind or "", kind)
    if kind is not None and kind not in kinds:
        raise BadInput(f"there is no kind of component {kind!r}", closest(kind, kinds))
    registry = registry_of.registry()
    chosen = [
        registry.find(each, each_name)
        for each in ([kind] if kind else kinds)
        for each_name in ([name] if name else registry.names(each))
    ]
    if as_json:
        found = [_component(component) for component in chosen]
        print_json(found[0] if name else found)
    elif name:
        _describe_component(chosen[0])
    else:
        lines = [[c.kind, c.name, c.help, f"{c.plugin} {c.version}"] for c in chosen]
        print_table(["kind", "name", "", "from"], lines)


def _component(component: Any) -> dict[str, Any]:
    origin = {"plugin": component.plugin, "version": component.version}
    options = [option.as_json() for option in component.options]
    return {"kind": component.kind, "name": component.name, "help": component.help, **origin, "options": options}


def _describe_component(component: Any) -> None:
    click.echo(f"{component.kind} {component.name}, from {component.plugin} {component.version}\n{component.help}")
    lines = [[o.name, o.type_name, "required" if o.required else _shown(o.default), o.help] for o in component.options]
    if lines:
        print_table(["option", "type", "default", ""], lines)
        first = lines[0][0]
        click.echo(f"write: {component.name}:{first}=VALUE")
    else:
        click.echo("It has no options.")


def _shown(value: Any) -> str:
    return (
        "/".join(map(str, value))
        if isinstance(value, tuple) and not isinstance(value, registry_of.Range)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


@click.group(invoke_without_command=True, epilog="Example: aepipe plugins --json")
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Every plugin, what it offers and what is wrong with it."""
    if ctx.invoked_subcommand:
        check_effect(ctx, "as_json", False, "the list of plugins", "leave it out")
        return
    from aepipe.plugins.tryout import try_factories

    registry = registry_of.registry()
    try_factories(registry)
    found = [vars(plugin) for plugin in registry.plugins]
    if as_json:
        print_json(found)
        return
    lines = [
        [
            p["name"],
            f"{p['distribution']} {p['version']}",
            " ".join(p["components"]) or ", ".join(p["hooks"]),
            "; ".join([*(p["errors"] or ["ok"]), *p["notes"]]),
        ]
        for p in found
    ]
    print_table(["plugin", "distribution", "offers", "state"], lines)


plugins.add_command(new)


@click.command(epilog="Example: aepipe doctor --json")
@json_option
def doctor(as_json: bool) -> None:
    """What works in this environment, and how to fix the rest.

    ONNX Runtime, providers, torch, data and plugins are tried. Exits 1 if something is broken.
    """
    from aepipe.doctor import examine

    findings = examine()
    if as_json:
        print_json(findings)
    else:
        lines = [
            [each["what"], {True: "ok", False: "BROKEN", None: "–"}[each["ok"]], each["found"], each["fix"]]
            for each in findings
        ]
        print_table(["", "state", "found", "fix"], lines)
    broken = [each["what"] for each in findings if each["ok"] is False]
    if broken:
        raise AepipeError(f"broken: {', '.join(broken)}", "the table names the fixes")
