"""Latency in ONNX Runtime on this machine's CPU: of files, of architectures, and of single operations, kept in tables.

Nothing is imported here; nothing in it but `autoshrink.latency.measuring.architecture_latency` needs torch.
"""
