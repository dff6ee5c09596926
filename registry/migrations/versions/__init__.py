"""The revisions. One that was released never changes: a later one changes what it made."""
