"""What every serving program shares.

In a release this folder is `serving/common/` and a kind's own is `serving/KIND/`, as here below
`programs/`; so `from ..common.answers import Outcome` holds in both places.
"""
