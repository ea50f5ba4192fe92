"""The robot bridge, and the stand-in driver for machines without a robot."""
