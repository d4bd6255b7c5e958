"""Files on the disk: how they are written whole or not at all, where they may lie, and the cache of downloads."""
