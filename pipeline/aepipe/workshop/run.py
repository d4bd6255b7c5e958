"""A run for users of Python: what training wrote, and its export to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .training.run import RunFolder


class Run(RunFolder):
    """A training run on disk. `Run(path)` opens it; raises BadInput when there is none or it cannot be read.

    Where it was trained with an encoder or a decoder of your own, `Run(path, encoder=module, decoder=module)` takes them again:
    modules of the same classes, whatever their weights are. Codes, metrics and `fit_density` need them not; `model`, `export`
    and `resume` do.
    """

    def export(self, out: str | Path | None = None, **options: Any) -> Path:
        """Export the run as a bundle, by default to exported/NAME.

        `options` are those of `aepipe export`: densities, without, lower, precision, calibrate, max_drop, io, overwrite,
        private, and show=False for silence. Raises ParityError, and writes nothing, where encoder or decoder does not compute
        what torch computes; DensityRefused and PrecisionRefused where one of those was left out of what has been written.
        """
        # What exporters import takes half a second, and training needs none of it.
        from .export.export import export_run

        return export_run(self, out, **options)
