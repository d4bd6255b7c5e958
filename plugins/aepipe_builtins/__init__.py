"""The components that ship with aepipe, registered through the same hooks as a stranger's."""
