"""`bt-engine`: TensorRT plans, built ahead of time."""
