"""A task of `aepipe infer`, and a layout of `aepipe export`."""

from aepipe import hookimpl


@hookimpl
def register_tasks(register):
    register(spread)


@hookimpl
def register_layouts(register):
    register(flat)


def spread(*, digits: int = 4):
    """How far codes spread: the standard deviation of each of their numbers, as JSON.

    digits: behind the point
    """

    def run(model, reading, out):
        import json

        import numpy as np

        codes = np.concatenate([model.encode(samples) for _, samples in reading.batches()])
        out.write_text(json.dumps([round(float(each), digits) for each in codes.std(0)]))
        return f"of {len(codes)} codes"

    run.endings = (".json",)
    return run


def flat(*, separator: str = "-"):
    """All graphs in one folder, without sub-folders.

    separator: between the parts of a name
    """

    def fill(bundle, out):
        graphs = sorted(bundle.rglob("*.onnx"))
        for graph in graphs:
            (out / separator.join(graph.relative_to(bundle).parts)).write_bytes(graph.read_bytes())
        return f"{len(graphs)} graphs"

    return fill
