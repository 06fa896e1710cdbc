"""TensorRT and TensorRT for RTX: building plans, keeping them, running them."""
