"""Changes to a model's ONNX graph: faster, or ready for INT8, with the same logits."""
