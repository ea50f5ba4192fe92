"""The drivers of any robot file, as nodes on real DDS, with the models of `controllers` in them."""
