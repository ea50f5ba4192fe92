"""The launcher for machines without ROS: the same launch files, a documented subset of XML.

Reading order: `document` (XML with lines), `vocabulary` (what the subset has), `substitutions` and
`parameter_values` (the rules of the real launch), `resolving` (files and arguments to nodes),
`node_specs` (a node and its command line), `supervisor` (the processes), `command_line`.
docs/launching.md is the page for users; test_launch_parity.py holds it to the real launch.
"""
