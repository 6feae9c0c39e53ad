"""Search small, accurate neural networks by shrinking the wiring of a cell."""
