"""The exported folder: its manifest, its graphs, its card. The only contract between the two halves."""
