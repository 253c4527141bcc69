"""A package, so that its files may be called as those of tests/real are."""
