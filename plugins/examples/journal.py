"""A logger: what happens to runs and bundles, as lines of JSON beside the run."""

import json

from aepipe import hookimpl


def note(folder, **facts):
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as file:
        print(json.dumps(facts), file=file)


@hookimpl
def run_started(run):
    note(run.directory, event="started", done=len(run.history), recipe=run.configuration["recipe"])


@hookimpl
def epoch_finished(run):
    note(run.directory, event="epoch", **run.metrics)


@hookimpl
def run_finished(run):
    note(run.directory, event="finished", **run.configuration["metrics"])


@hookimpl
def exported(bundle):
    if bundle.run is not None:
        note(bundle.run, event="exported", graphs=len(bundle.manifest["graphs"]))
