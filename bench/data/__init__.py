"""Labelled images, phantoms, and the manifest of the data set."""
