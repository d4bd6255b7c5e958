"""The model card: what a bundle is, how good it is and how to use it, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEARNED = ("encoder", "decoder", "sample", "log_prob", "noise")  # roles that come from torch, not from other graphs
EXAMPLE = """import json, pathlib
import numpy as np, onnxruntime as ort

bundle = pathlib.Path("{name}")
manifest = json.loads((bundle / "manifest.json").read_text())
plain = [graph for graph in manifest["graphs"] if (graph["precision"], graph["io"]) == ("fp32", "float")]
file = {{graph["role"]: str(bundle / graph["file"]) for graph in plain if graph.get("density") in {first}}}
encoder, decoder = ort.InferenceSession(file["encoder"]), ort.InferenceSession(file["decoder"])

image = np.zeros({shape}, np.float32)  # your images, 0..1
latent = encoder.run(None, {{"image": image}})[0]
reconstruction = decoder.run(None, {{"latent": latent}})[0]
"""


def write_card(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the README.md of a bundle."""
    path.write_text(_card(manifest), encoding="utf-8")


def _card(m: Mapping[str, Any]) -> str:
    c, h, w = m["image"]["shape"]
    trained, metrics = m["trained"], m["metrics"]
    corruption = trained.get("corruption")
    task = f"denoise ({_spec(corruption)})" if corruption else trained["task"]
    first = f"(None, {m['densities'][0]!r})" if m["densities"] else "(None,)"
    example = EXAMPLE.format(name=m["name"], first=first, shape=(1, c, h, w))
    return f"""# {m["name"]}

An autoencoder as ONNX graphs, made by aepipe {m["aepipe"]}: images of {c}×{h}×{w} to codes of {m["latent"]} numbers and back.

![originals, reconstructions and samples](preview.png)

## Figures

{_table(_measured(metrics))}

## How it was made

{_table({"trained to": task, "data": f"`{trained['data']}`" + _count(trained), **_recipe(trained), **_components(m)})}

## Graphs

Images are float32 in 0..1 (clipped on the way out), standardisation is inside, the batch is dynamic. ONNX Runtime
{m["minimum_onnxruntime"]} or newer. Noise is standard normal: the same noise gives the same image everywhere.{_made(m)}

| file | input | output | largest difference from torch |
|---|---|---|---|
{_graph_rows(m)}

## Use

```
aepipe infer reconstruct {m["name"]} IMAGES -o out.png
```

Without aepipe:

```python
{example}```
"""


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _measured(metrics: Mapping[str, Any]) -> dict[str, str]:
    on = f"{metrics.get('count', '?')} {metrics.get('split', '')} images"
    rows = {f"mean squared error per pixel ({on})": f"{metrics['mse']:.5f}", "PSNR": f"{metrics['psnr']:.2f} dB"}
    if "ssim" in metrics:
        rows["SSIM"] = f"{metrics['ssim']:.4f}"
    if "mse_input" in metrics:
        rows["mean squared error of the spoiled input"] = f"{metrics['mse_input']:.5f}"
    return rows


def _count(trained: Mapping[str, Any]) -> str:
    return f", {trained['images']} images" if "images" in trained else ""


def _recipe(trained: Mapping[str, Any]) -> dict[str, str]:
    if "epochs" not in trained:
        return {}
    text = "{epochs} epochs, batch {batch_size}, learning rate {lr:g} ({schedule}), {precision}, seed {seed}"
    return {"recipe": text.format(**trained)}


def _components(m: Mapping[str, Any]) -> dict[str, str]:
    named = {kind: record for kind, record in m["components"].items() if kind in ("encoder", "decoder", "objective")}
    rows = {kind: f"`{_spec(record)}`" + _origin(record) for kind, record in named.items()}
    densities = m["components"].get("densities", {})
    if densities:
        rows["densities"] = ", ".join(
            f"{label}: `{_spec(record)}`{_origin(record)}" for label, record in densities.items()
        )
    return rows


def _spec(record: Mapping[str, Any]) -> str:
    options = {
        key: "/".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for key, value in record["options"].items()
    }
    text = ",".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return record["name"] + (f":{text}" if text else "")


def _origin(record: Mapping[str, Any]) -> str:
    return f" from {record['plugin']} {record['version']}" if record.get("plugin") else ""


def _made(m: Mapping[str, Any]) -> str:
    """How to read the graphs that are made of others, where there are any."""
    if all(graph["role"] in LEARNED and graph["io"] == "float" for graph in m["graphs"]):
        return ""
    return """

`*.uint8.onnx` take and give images as bytes, [batch, H, W, C]: divided by 255 on the way in; on the way out clipped to 0..1,
times 255, rounded (halves to the even neighbour). `reconstruct`, `interpolate` and `generate` are whole tasks in one graph.
`interpolate` decodes (1 − alpha) · code of `image_a` + alpha · code of `image_b`: as many pairs as alphas, or one image for all."""


def _graph_rows(m: Mapping[str, Any]) -> str:
    return "\n".join(
        f"| `{g['file']}` | {_tensors(g['inputs'])} | {_tensors(g['outputs'])} | {_agreement(m, g)} |"
        for g in m["graphs"]
    )


def _agreement(m: Mapping[str, Any], graph: Mapping[str, Any]) -> str:
    role, density, io = graph["role"], graph.get("density"), graph["io"]
    if graph["precision"] != "fp32":
        return _cost(m["precisions"][graph["precision"]])
    if io != "float":
        return f"{m['parity'][f'{role}.{io}']:.1e} from `{role}.onnx`"
    name = f"{density}/{role}" if density else {"encoder": "latent", "decoder": "image"}.get(role, role)
    made = "" if role in LEARNED else " from the graphs above"
    return f"{m['parity'].get(name, float('nan')):.1e}{made}"


def _cost(report: Mapping[str, Any]) -> str:
    return f"MSE {report['mse']:.5f} where fp32 has {report['fp32']:.5f}"


def _tensors(tensors: Mapping[str, Any]) -> str:
    def text(name: str, tensor: Mapping[str, Any]) -> str:
        kind = "" if tensor["dtype"] == "float32" else f"{tensor['dtype']} "
        return f"`{name}` {kind}[{', '.join(map(str, tensor['shape']))}]"

    return ", ".join(text(name, tensor) for name, tensor in tensors.items())
