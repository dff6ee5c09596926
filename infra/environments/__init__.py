"""The three Python environments, one lock each: control plane, converter, serving runtime.

This package runs before anything is installed, so it uses the standard library only.
"""
