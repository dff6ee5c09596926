"""Programs that Triton's Python backend runs, one folder a kind of model.

Publishing copies a program into each release, so a release never changes when this code does.
They run in the serving environment (NumPy 1.26, no Sluice) and import only their own siblings,
NumPy, PyArrow, tokenizers and one inference engine.
"""
