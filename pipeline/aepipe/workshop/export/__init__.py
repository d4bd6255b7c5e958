"""From a run or torch modules to a bundle, behind a gate."""
