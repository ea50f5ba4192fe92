"""LeRobot data sets, versions 3.0 and 2.1, read and written from their specification.

Needs neither lerobot nor torch.
"""
