"""Policies behind a server of the openpi protocol: client, layouts, and our own server."""
