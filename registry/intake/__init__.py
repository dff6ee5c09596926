"""What may come in: every file of an incoming model is claimed by one reader, or refused by name.

`gatekeeper.admit` judges a folder, `archives.unpack` makes one of an archive. Readers are pure:
no framework, nothing is run, unpickled or followed.
"""
