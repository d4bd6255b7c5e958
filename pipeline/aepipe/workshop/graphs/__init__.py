"""ONNX graphs rewritten: lowered, folded, quantised, cut out and composed. No torch."""
