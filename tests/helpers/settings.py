"""Options of trainings that take a moment."""

from __future__ import annotations

from typing import Any

NETWORKS: dict[str, Any] = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 2}
SMALL = {**NETWORKS, "epochs": 1, "show": False}
STEADY = {**NETWORKS, "epochs": 2, "batch_size": 20, "precision": "fp32", "show": False}  # the same on every machine
OPTIONS = ["--encoder", "mlp:hidden=16", "--decoder", "mlp:hidden=16", "--latent-dim", "2", "--batch-size", "20"]
