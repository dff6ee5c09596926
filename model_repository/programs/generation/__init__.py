"""Text generation as Triton serves it: translation and completion, as a stream or at once.

`model.py` is the unary model that clients ask for whole answers; it asks `stream_model.py`, which
is the model that holds the engine, steps all requests under way and streams.
"""
