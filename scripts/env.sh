# Environment of the workspace, for bash and zsh, from any working directory:
#
#     source scripts/env.sh
#
# Sourcing it again changes nothing. Without ROS, it activates the virtual environment made by
# scripts/setup. With ROS 2 sourced, it adds the workspace as an overlay.
# HIWM_VENV, HIWM_BUILD and HIWM_INSTALL replace the folders .venv, build and install.
# shellcheck shell=bash

if [ -n "${BASH_VERSION:-}" ]; then
    _hiwm_file="${BASH_SOURCE[0]}"
    _hiwm_shell=bash
elif [ -n "${ZSH_VERSION:-}" ]; then
    _hiwm_file="${(%):-%x}"
    _hiwm_shell=zsh
else
    echo "scripts/env.sh: this file works only in bash and zsh; start one of them first." >&2
    return 1
fi
HIWM_ROOT="$(cd "$(dirname "$_hiwm_file")/.." > /dev/null && pwd -P)"
export HIWM_ROOT
_hiwm_venv="$(realpath -m "${HIWM_VENV:-$HIWM_ROOT/.venv}")"
_hiwm_install="$(realpath -m "${HIWM_INSTALL:-$HIWM_ROOT/install}")"

# Prepends $2 to the colon-separated list in the variable $1, unless the list contains it.
_hiwm_prepend() {
    eval "_hiwm_list=\"\${$1:-}\""
    case ":$_hiwm_list:" in
        *":$2:"*) ;;
        *) export "$1=$2${_hiwm_list:+:$_hiwm_list}" ;;
    esac
}

# Appends $2 to the colon-separated list in the variable $1, unless the list contains it.
_hiwm_append() {
    eval "_hiwm_list=\"\${$1:-}\""
    case ":$_hiwm_list:" in
        *":$2:"*) ;;
        *) export "$1=${_hiwm_list:+$_hiwm_list:}$2" ;;
    esac
}

# Whether a prefix other than $1 has the ROS package $2.
_hiwm_elsewhere() {
    while IFS= read -r _hiwm_prefix; do
        if [ "$_hiwm_prefix" != "$1" ] &&
            [ -e "$_hiwm_prefix/share/ament_index/resource_index/packages/$2" ]; then
            return 0
        fi
    done < <(printf '%s\n' "${AMENT_PREFIX_PATH:-}" | tr ':' '\n')
    return 1
}

_hiwm_problem=""
if [ -z "${ROS_DISTRO:-}" ] && [ ! -x "$_hiwm_venv/bin/python" ]; then
    _hiwm_problem="there is no Python environment in $_hiwm_venv yet"
elif [ -n "${ROS_DISTRO:-}" ] && [ -e "$_hiwm_venv/hiwm-setup.stamp" ]; then
    _hiwm_problem="ROS 2 $ROS_DISTRO is sourced, but $_hiwm_venv was set up without ROS; \
use a shell that sources no ROS, or set HIWM_VENV, HIWM_BUILD and HIWM_INSTALL to other folders"
elif [ -x "$_hiwm_venv/bin/python" ]; then
    # No deactivate function and no prompt: scripts source this file too.
    export VIRTUAL_ENV="$_hiwm_venv"
    unset PYTHONHOME
    _hiwm_prepend PATH "$_hiwm_venv/bin"
    if [ -z "${ROS_DISTRO:-}" ]; then
        # The wheels' start-up hook would set these by starting every Python twice.
        while IFS= read -r _hiwm_libraries; do
            _hiwm_prepend LD_LIBRARY_PATH "$_hiwm_libraries"
        done < <(find "$_hiwm_venv/lib" -maxdepth 3 -type d -name 'ros_*.libs' | sort -r)
        _hiwm_prepend LD_LIBRARY_PATH "$_hiwm_venv/lib"
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
        # The virtual environment is itself a prefix of ROS packages.
        _hiwm_prepend AMENT_PREFIX_PATH "$_hiwm_venv"
        _hiwm_prepend CMAKE_PREFIX_PATH "$_hiwm_venv"
    fi
fi

if [ -z "$_hiwm_problem" ]; then
    if [ -f "$_hiwm_install/local_setup.$_hiwm_shell" ]; then
        # colcon's file reads unset variables and runs commands that may fail.
        case "$-" in *u*) _hiwm_strict=u; set +u ;; *) _hiwm_strict="" ;; esac
        case "$-" in *e*) _hiwm_strict="${_hiwm_strict}e"; set +e ;; esac
        . "$_hiwm_install/local_setup.$_hiwm_shell"
        [ -z "$_hiwm_strict" ] || set "-$_hiwm_strict"
        # Interfaces of drivers that scripts/setup built: last, and only where there are no others.
        while IFS= read -r _hiwm_interfaces; do
            if ! _hiwm_elsewhere "$_hiwm_interfaces" "${_hiwm_interfaces##*/}"; then
                _hiwm_append AMENT_PREFIX_PATH "$_hiwm_interfaces"
                _hiwm_append LD_LIBRARY_PATH "$_hiwm_interfaces/lib"
                while IFS= read -r _hiwm_prefix; do
                    _hiwm_append PYTHONPATH "$_hiwm_prefix"
                done < <(find "$_hiwm_interfaces/lib" -maxdepth 2 -name site-packages)
            fi
        done < <(find "$_hiwm_install/.interfaces" -mindepth 1 -maxdepth 1 -type d 2> /dev/null | sort)
    else
        _hiwm_problem="the workspace is not built yet: no $_hiwm_install/local_setup.$_hiwm_shell"
    fi
fi

# Discovery is limited to this machine unless the user sets another range.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
export MUJOCO_GL="${MUJOCO_GL:-egl}"

unset _hiwm_file _hiwm_shell _hiwm_venv _hiwm_install _hiwm_list _hiwm_libraries _hiwm_strict
unset _hiwm_interfaces _hiwm_prefix
unset -f _hiwm_prepend _hiwm_append _hiwm_elsewhere
if [ -n "$_hiwm_problem" ]; then
    echo "scripts/env.sh: $_hiwm_problem. See $HIWM_ROOT/scripts/setup" >&2
    unset _hiwm_problem
    return 1
fi
unset _hiwm_problem
