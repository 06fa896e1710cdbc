"""Passes over an ONNX graph: simplify, wrap, lower the precision, quantise."""
