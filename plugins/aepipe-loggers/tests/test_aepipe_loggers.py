"""What the loggers write while aepipe trains, resumes and exports, read back with the packages' own readers."""

from __future__ import annotations

import json
import subprocess
import sys

import aepipe
import pytest
from aepipe import hookimpl, plugins

SMALL = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 2, "device": "cpu", "show": False}
DIGITS = {"images": "digits:size=8", "limit": 200, **SMALL}
CURVES = {"loss", "validation_mse", "lr", "images_per_second"}


class Interrupts:
    """Ctrl-C in the third epoch: after the loggers have noted it, before the run has."""

    armed = True

    @hookimpl
    def epoch_finished(self, run):
        if self.armed and run.epoch == 3:
            self.armed = False
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A function that trains a run, interrupts it, resumes it and exports it."""

    def train():
        plugin = plugins.registry().register(Interrupts(), "interrupts")
        try:
            with pytest.raises(KeyboardInterrupt):
                aepipe.fit(**DIGITS, epochs=5, out=tmp_path / "run")
            run = aepipe.resume(tmp_path / "run", show=False)
            run.export(tmp_path / "bundle", show=False)
            return run
        finally:
            plugins.registry().unregister(plugin)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return train


def events(run):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return reader.EventAccumulator(str(run.directory / "tensorboard")).Reload()


def test_tensorboard_reads_every_epoch_once(interrupted):
    run = interrupted()
    read = events(run)
    assert set(read.Tags()["scalars"]) >= CURVES | {"test/mse", "test/psnr"}
    for name in CURVES - {"images_per_second"}:
        assert [each.step for each in read.Scalars(name)] == [1, 2, 3, 4, 5]
        assert [each.value for each in read.Scalars(name)] == pytest.approx(
            [row[name] for row in run.history], rel=1e-5
        )
    (final,) = read.Scalars("test/mse")
    assert final.value == pytest.approx(run.config["metrics"]["mse"], rel=1e-5) and final.step == 5
    (preview,) = read.Images("preview")
    assert preview.width > 100
    text = read.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text.strip("`json\n"))["recipe"]["epochs"] == 5


def test_a_run_that_is_replaced_leaves_no_events(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for epochs in (3, 2):
        run = aepipe.fit(**DIGITS, epochs=epochs, out=tmp_path / "run", overwrite=True)
    assert [each.step for each in events(run).Scalars("loss")] == [1, 2]


def test_mlflow_has_one_run_with_parameters_curves_and_the_bundle(interrupted, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "tracked").as_uri()
    train = interrupted
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "digits")
    run = train()
    client = mlflow.MlflowClient(tracking_uri=uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert kept.info.status == "FINISHED" and kept.info.run_name == "run"
    assert kept.data.params["components.encoder.options.hidden"] == "[16]" and kept.data.params["recipe.epochs"] == "5"
    assert kept.data.metrics["test/mse"] == pytest.approx(run.config["metrics"]["mse"])
    curve = {each.step: each.value for each in client.get_metric_history(kept.info.run_id, "validation_mse")}
    assert curve == pytest.approx({row["epoch"]: row["validation_mse"] for row in run.history})
    names = {each.path for each in client.list_artifacts(kept.info.run_id, "bundle")}
    assert {"bundle/manifest.json", "bundle/encoder.onnx"} <= names


def test_without_an_address_nothing_goes_to_mlflow(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    aepipe.fit(**DIGITS, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run" / "mlflow.json").exists() and not (tmp_path / "mlruns").exists()


def test_an_address_that_does_not_answer_stops_no_training(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    assert aepipe.fit(**DIGITS, epochs=2, out=tmp_path / "run").finished
    assert capsys.readouterr().err.count("warning: plugin mlflow (aepipe-loggers): run_started raised") == 1


def test_nothing_heavy_is_imported_with_the_plugin():
    code = "import sys, aepipe_loggers.mlflow_logger, aepipe_loggers.tensorboard_logger as t; "
    code += "print([m for m in ('torch', 'mlflow', 'tensorboard', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
