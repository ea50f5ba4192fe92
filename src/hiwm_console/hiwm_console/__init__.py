"""The live view of a session."""
