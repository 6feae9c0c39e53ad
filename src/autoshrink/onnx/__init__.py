"""Networks as ONNX models, and ONNX files in ONNX Runtime; what latency is measured on and exports are made of.

Nothing is imported here, so that `autoshrink.onnx.session` needs no torch.
"""
