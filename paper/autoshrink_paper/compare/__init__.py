"""Search methods at equal training MACs: what each finds, what that is worth; `python -m autoshrink_paper.compare`."""
