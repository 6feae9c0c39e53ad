"""From a trained model to what runs elsewhere: exported files, checked against PyTorch, and predictions from them.

Nothing is imported here, so that `autoshrink.deploy.predict` needs no torch:

- `autoshrink.deploy.exporting`: from a model's folder to a checked file;
- `autoshrink.deploy.exporter`: what a task says of that (`image` and `text` have their own);
- `autoshrink.deploy.predict`: predictions from an ONNX file alone;
- `autoshrink.deploy.card`, `parity`: what a file says of itself, and the comparison that it has to pass.
"""
