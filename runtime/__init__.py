"""A bundle and images in, records out. Nothing here imports TensorFlow."""
