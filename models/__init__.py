"""The backbones as data, their Keras builders and the class labels."""
