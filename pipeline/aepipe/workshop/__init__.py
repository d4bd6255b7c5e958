"""The half that needs torch: training, export, and the rewriting of graphs."""
