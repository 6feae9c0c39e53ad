"""From a trained model to what runs elsewhere: exported files, checked against PyTorch, and predictions from them.

Nothing is imported here, so that `autoshrink.deploy.predict` needs no torch:

- `autoshrink.deploy.onnx_export`, `recurrent_export`: ONNX files of image classifiers and language models;
- `autoshrink.deploy.quantisation`: their int8 versions, and what those cost in accuracy;
- `autoshrink.deploy.predict`: predictions from an ONNX file alone;
- `autoshrink.deploy.parity`: the comparison with PyTorch that every exported file has to pass.
"""
