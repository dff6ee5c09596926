"""Drawn GRID clips for lip-reading: mouths that say sentences, and the network that reads them.

Half of this package makes data (`timing`, `visemes`, `mouth`, `speakers`, `dataset`, `clips`) and
needs espeak-ng; the other half (`network`, `training`, `scoring`) needs Keras, and neither imports
the other. espeak-ng is GPL-3 and gives the phonemes' times alone; no part of the product imports
this package.
"""
