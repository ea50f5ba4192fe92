#!/bin/bash
# Source ROS 2 Jazzy and the workspace, then run the container's command.
set -e

source /opt/ros/jazzy/setup.bash
source /workspace/scripts/env.sh
exec "$@"
