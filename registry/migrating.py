"""What `sluice journal migrate` does: a database gets this version's schema, in one transaction."""

from __future__ import annotations

from registry.database import open_database, transaction
from registry.schema import upgrade


def migrate(url: str) -> tuple[str, str]:
    """Bring the schema up to date; the revisions before (empty where there was none) and after.

    Doing it again changes nothing, and of several at once one does it. A sqlite file has had it
    done when it is opened. Raises UserError for a URL that names no database, EngineError when it
    cannot be used or is of a newer Sluice; then nothing was changed.
    """
    engine = open_database(url, check=False)
    try:
        with transaction(engine) as connection:
            return upgrade(connection, engine.url)
    finally:
        engine.dispose()
