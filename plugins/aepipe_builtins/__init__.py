"""The components that ship with aepipe. They are registered through the same hooks as those of any other plugin."""
