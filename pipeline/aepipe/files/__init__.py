"""Files on the disk: written whole or not at all, where they may lie, and what is kept of the network."""
