"""The branch manager: saved states as a tree that can be rolled back and forked."""
