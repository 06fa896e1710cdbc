"""NVIDIA TensorRT and TensorRT for RTX."""
