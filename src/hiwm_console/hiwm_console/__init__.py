"""The console: one web page to watch, drive and browse a session; and the live picture."""
