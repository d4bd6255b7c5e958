"""The model card: what a bundle is, how good it is and how to use it, for whoever finds the folder."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe.errors import BadInput
from aepipe.files.numpy_files import read_arrays
from aepipe.space import times

from .manifest import CARD, CODES, LEARNED, PREVIEW, Graph, Manifest, Tensor, spec_of

EXAMPLE = """import json, os, pathlib
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is imported
import numpy as np, onnxruntime as ort

bundle = pathlib.Path({name})
manifest = json.loads((bundle / "manifest.json").read_bytes())
plain = [graph for graph in manifest["graphs"] if (graph["precision"], graph["io"]) == ("fp32", "float")]
file = {{graph["role"]: str(bundle / graph["file"]) for graph in plain if graph.get("density") in {first}}}
encoder, decoder = ort.InferenceSession(file["encoder"]), ort.InferenceSession(file["decoder"])

{kind} = np.zeros({shape}, np.float32)  # your {kind}s, {values}
latent = encoder.run(None, {{"{kind}": {kind}}})[0]
reconstruction = decoder.run(None, {{"latent": latent}})[0]
"""


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write the README.md of a bundle into its folder."""
    (folder / CARD).write_text(_card(manifest, carried(folder, manifest)), encoding="utf-8")


def carried(folder: Path, manifest: Manifest) -> str:
    """What of the training data a bundle carries, in one line."""
    if manifest.private:
        return "nothing but what the graphs have learned: exported with --private"
    found = []
    try:
        arrays = read_arrays(folder / CODES, "")
        with_labels = ", with labels" if "labels" in arrays else ""
        found.append(f"codes of {len(arrays['codes'])} training images{with_labels}")
    except (BadInput, KeyError):
        pass  # it was removed, or is damaged: whoever needs it will say so
    if (folder / PREVIEW).is_file():
        found.append("a preview of images that were held out")
    return ", ".join([*found, "the name of the data"])


def _plain(text: str) -> str:
    """A name as text of the page, in which nothing is markup."""
    return re.sub(r"([\\`*\[\]<>#|~&])", r"\\\1", text)


def _code(text: str) -> str:
    """A name as code, also in a table."""
    marks = "`" * (max((len(each) for each in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{space}{text}{space}{marks}".replace("|", "\\|")


def _card(m: Manifest, carries: str) -> str:
    kind = m.data.kind
    example_shape = (1, *(side or 8 * m.data.multiple for side in m.data.shape))
    corruption = m.trained.get("corruption")
    task = f"denoise ({spec_of(corruption)})" if corruption else m.trained["task"]
    first = f"(None, {m.densities[0]!r})" if m.densities else "(None,)"
    values = "0..1" if m.data.range else "in the units of the training data"
    said = {"first": first, "shape": example_shape, "kind": kind, "values": values}
    example = EXAMPLE.format(name=json.dumps(m.name, ensure_ascii=False), **said)
    made = {"trained to": task, "data": _code(str(m.trained["data"])) + _count(m.trained)}
    picture = "" if m.private else f"\n![originals, reconstructions and samples]({PREVIEW})\n"
    folder = f"./{m.name}" if m.name.startswith("-") else m.name
    return f"""# {_plain(m.name)}

An autoencoder as ONNX graphs, made by aepipe {m.aepipe}: {kind}s of {times(m.data.shape)} to codes of {m.code} numbers and back.
{picture}
It carries of the training data: {carries}.

## Figures

{_table(_measured(m.metrics))}

## How it was made

{_table({**made, **_recipe(m.trained), **_components(m.components)})}

## Graphs

{_values(m)}, standardisation is inside, the batch is dynamic. ONNX Runtime
{m.minimum_onnxruntime} or newer. Noise is standard normal: the same noise gives the same image everywhere.{_labels(m)}{_made(m)}

| file | input | output | largest difference from torch |
|---|---|---|---|
{_graph_rows(m)}

## Use

```
aepipe infer reconstruct {shlex.quote(folder)} IMAGES -o out.png
```

Without aepipe:

```python
{example}```
"""


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _measured(metrics: Mapping[str, Any]) -> dict[str, str]:
    on = f"{metrics.get('count', '?')} {metrics.get('split', '')} images"
    rows = {
        f"mean squared error per pixel ({on})": f"{metrics['mse']:.5f}",
    }
    if "psnr" in metrics:
        rows["PSNR"] = f"{metrics['psnr']:.2f} dB"
    if "snr" in metrics:
        rows["SNR"] = f"{metrics['snr']:.2f} dB"
        rows["normalised mean squared error"] = f"{metrics['nmse']:.5f}"
    if "ssim" in metrics:
        rows["SSIM"] = f"{metrics['ssim']:.4f}"
    if "snr_input" in metrics:
        rows["SNR of the spoiled input"] = f"{metrics['snr_input']:.2f} dB"
    if "mse_input" in metrics:
        rows["mean squared error of the spoiled input"] = f"{metrics['mse_input']:.5f}"
    return rows


def _values(m: Manifest) -> str:
    """What numbers the graphs take."""
    kind, raw = f"{m.data.kind.capitalize()}s", m.data.raw
    if m.data.range is None:
        return f"{kind} are float32 in the units of the training data, and are not clipped"
    of_raw = ""
    if raw is not None and raw.range is not None:
        of_raw = f": the raw value ({raw.dtype}) less {raw.range[0]:g}, by {raw.range[1] - raw.range[0]:g}"
    return f"{kind} are float32 in 0..1{of_raw} (clipped on the way out)"


def _count(trained: Mapping[str, Any]) -> str:
    return f", {trained['images']} images" if "images" in trained else ""


def _recipe(trained: Mapping[str, Any]) -> dict[str, str]:
    if "epochs" not in trained:
        return {}
    text = "{epochs} epochs, batch {batch_size}, learning rate {lr:g} ({schedule}), {precision}, seed {seed}"
    optimiser = trained.get("optimiser")
    rows = {"optimiser": f"`{spec_of(optimiser)}`" + _origin(optimiser)} if optimiser else {}
    further = [f", {key} {trained[key]:g}" for key in ("warmup", "clip", "ema") if key in trained]
    return {"recipe": text.format(**trained) + "".join(further), **rows}


def _components(components: Mapping[str, Any]) -> dict[str, str]:
    named = {kind: record for kind, record in components.items() if kind in ("encoder", "decoder", "objective")}
    rows = {kind: f"`{spec_of(record)}`" + _origin(record) for kind, record in named.items()}
    densities = components.get("densities", {})
    if densities:
        rows["densities"] = ", ".join(
            f"{label}: `{spec_of(record)}`{_origin(record)}" for label, record in densities.items()
        )
    return rows


def _origin(record: Mapping[str, Any]) -> str:
    return f" from {record['plugin']} {record['version']}" if record.get("plugin") else ""


def _labels(m: Manifest) -> str:
    """What `label` is, and what is missing of a density."""
    said = ""
    if m.classes is not None:
        said += f"\n`label` is a class, 0 to {m.classes - 1}, one for each row."
    scored = {each.density for each in m.graphs if each.role == "log_prob"}
    without = [name for name in m.densities if name not in scored]
    if without:
        said += f"\n{', '.join(map(_code, without))} gives samples and no log-densities."
    discrete = [str(each.density) for each in m.graphs if each.discrete]
    if discrete:
        said += f"\n`log_prob` of {', '.join(map(_code, discrete))} is the logarithm of a probability, and not of a density."
    return said


def _made(m: Manifest) -> str:
    """How to read the graphs that are made of others, where there are any."""
    if all(graph.role in LEARNED and graph.io == "float" for graph in m.graphs):
        return ""
    return """

`*.uint8.onnx` take and give images as bytes, [batch, H, W, C]: divided by 255 on the way in; on the way out clipped to 0..1,
times 255, rounded (halves to the even neighbour). `reconstruct`, `interpolate` and `generate` are whole tasks in one graph.
`interpolate` decodes (1 − alpha) · code of `image_a` + alpha · code of `image_b`: as many pairs as alphas, or one image for all."""


def _graph_rows(m: Manifest) -> str:
    return "\n".join(
        f"| `{each.file}` | {_tensors(each.inputs)} | {_tensors(each.outputs)} | {_agreement(m, each)} |"
        for each in m.graphs
    )


def _agreement(m: Manifest, graph: Graph) -> str:
    """How near a graph comes to what it was made of."""
    parity, precisions = m.parity or {}, m.precisions or {}
    if graph.precision != "fp32":
        report = precisions[graph.precision]
        return f"MSE {report['mse']:.5f} where fp32 has {report['fp32']:.5f}"
    if graph.io != "float":
        return f"{parity[graph.name]:.1e} from `{graph.role}.onnx`"
    name = {"encoder": "latent", "decoder": "image"}.get(graph.name, graph.name)
    made = "" if graph.role in LEARNED else " from the graphs above"
    return f"{parity.get(name, float('nan')):.1e}{made}"


def _tensors(tensors: Mapping[str, Tensor]) -> str:
    def text(name: str, each: Tensor) -> str:
        kind = "" if each.dtype == "float32" else f"{each.dtype} "
        return f"`{name}` {kind}[{', '.join(map(str, each.shape))}]"

    return ", ".join(text(*pair) for pair in tensors.items())
