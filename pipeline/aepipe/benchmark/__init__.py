"""How fast a bundle is, measured in processes of its own, and the figures as tables."""
