"""Measures in separate processes how fast a bundle is, and makes tables of the figures."""
