#!/bin/bash
# Lay the workspace over ROS 2 Jazzy, then run the command of the container.
set -e

source /opt/ros/jazzy/setup.bash
source /workspace/scripts/env.sh
exec "$@"
