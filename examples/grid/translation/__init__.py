"""GRID commands and their Spanish: text to translate, and the models that translate it.

This package exists so that the demo has a real translation task, with one right answer a
sentence, which anyone can make again byte for byte. `python -m translation` makes the data and
needs NumPy only; what trains needs the converter's environment. Nothing of the product imports
this package.
"""
