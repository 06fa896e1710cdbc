"""Reads a `.keras` file and writes its network as ONNX, without TensorFlow or Keras."""
