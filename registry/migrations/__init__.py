"""How the journal's schema came to be, one revision a file; run by `registry.migrating` alone."""
