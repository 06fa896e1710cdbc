"""From a trained `.keras` file to a verified bundle of ONNX models."""
