"""Models of what runs in real arms: controllers, servers and plants, without ROS.

Each is written from its maker's source, which its docstring names, and reduced to what a bridge can
get wrong: what it accepts, what it ignores, and how it moves. `driver_models` puts them on DDS.
"""
