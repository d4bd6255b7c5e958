"""MLflow: runs are tracked where MLflow's own variable MLFLOW_TRACKING_URI says so, in the experiment MLFLOW_EXPERIMENT_NAME.

RUN/mlflow.json remembers which MLflow run is the run's, so that a resumed run goes on there, and its bundle is added to it.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aepipe import AepipeError, hookimpl

NOTE, EXPERIMENT = "mlflow.json", "aepipe"
PARAMETERS = 100  # MLflow takes so many in one call

_open: dict[Path, tuple[Any, str]] = {}  # client and MLflow run of the runs that train in this process


@hookimpl
def run_started(run):
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return
    client, number = _client(uri), _noted(run.directory, uri) if run.history else None
    if number:
        client.update_run(number, status="RUNNING")
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        number = client.create_run(experiment, run_name=run.directory.resolve().name).info.run_id
        _log_parameters(client, number, dict(_flat(run.configuration)))
        (run.directory / NOTE).write_text(json.dumps({"uri": uri, "run": number}) + "\n", encoding="utf-8")
    _open[run.directory] = client, number


@hookimpl
def epoch_finished(run):
    if run.directory in _open:
        values = {name: value for name, value in run.metrics.items() if name != "epoch"}
        _log_metrics(*_open[run.directory], values, run.epoch)


@hookimpl
def run_finished(run):
    if run.directory in _open:
        client, number = _open.pop(run.directory)
        metrics = dict(run.configuration["metrics"])
        split, epochs = metrics.pop("split"), metrics.pop("epochs")
        _log_metrics(client, number, {f"{split}/{name}": value for name, value in metrics.items()}, epochs)
        client.set_terminated(number, "FINISHED")


@hookimpl
def exported(bundle):
    """The whole bundle as artifacts of its run."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and bundle.run and (number := _noted(bundle.run, uri)):
        _client(uri).log_artifacts(number, str(bundle.directory), "bundle")


@atexit.register
def _end() -> None:
    """What did not finish is no longer running when the process ends."""
    for client, number in _open.values():
        client.set_terminated(number, "KILLED")


def _client(uri: str) -> Any:
    try:
        from mlflow import MlflowClient
    except ImportError:
        hint = "pip install 'aepipe-loggers[mlflow]'"
        raise AepipeError("MLFLOW_TRACKING_URI is set, and MLflow is not installed", hint) from None
    return MlflowClient(tracking_uri=uri)


def _noted(directory: Path, uri: str) -> str | None:
    """The MLflow run of a run, if it is kept at this address."""
    try:
        note = json.loads((directory / NOTE).read_text(encoding="utf-8"))
        return str(note["run"]) if note["uri"] == uri else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of nested objects, as recipe.lr and components.encoder.name."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else key)
    elif value is not None:
        yield name, value


def _log_parameters(client: Any, number: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    found = [Param(name, str(value)[:500]) for name, value in values.items()]
    for start in range(0, len(found), PARAMETERS):
        client.log_batch(number, params=found[start : start + PARAMETERS])


def _log_metrics(client: Any, number: str, values: dict[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(number, metrics=[Metric(name, value, now, step) for name, value in values.items()])
