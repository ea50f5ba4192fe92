"""Runs launch files on machines without ROS: the same files, a documented subset of launch XML.

Reading order: `document` (XML with lines), `vocabulary` (the subset), `substitutions` and
`parameter_values` (the rules of the real launch), `resolving` (files and arguments to nodes),
`node_specs` (a node and its command line), `supervisor` (the processes), `command_line`.
docs/launching.md is the page for users; test_launch_parity.py compares it with the real launch.
"""
