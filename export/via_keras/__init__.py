"""Keras → ONNX through Keras and tf2onnx, in its own process: for layers that the direct writer does not know."""
