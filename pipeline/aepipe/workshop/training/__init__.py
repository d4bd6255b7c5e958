"""From images to a run: data, model, loop, checkpoints."""
