"""The network and its training: TensorFlow, never Beam."""
