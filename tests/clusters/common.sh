# shellcheck shell=bash
# Sourced by slurm.sh and gridengine.sh: a private cluster in $dir, its daemons, its ports, its clean end.
# The script sets $dir, and $mark, a NAME=VALUE that all daemons and jobs of its cluster have in their environment.
# shellcheck disable=SC2154

name=${0##*/}
host=$(hostname -s)
PATH=$PATH:/usr/sbin:/sbin

# die MESSAGE
die() {
  echo "$name: $*" >&2
  exit 1
}

[[ $dir =~ ^[[:alnum:]/._+-]+$ ]] || die "$dir: give a directory of letters, digits and ._+- only"

# need PROGRAM...: or end with what to do.
need() {
  local program
  for program in "$@"; do
    type -P "$program" > /dev/null || die "no $program; tests/install_packages.sh installs it"
  done
}

# host_address: the IPv4 address of this host's name, which the daemons listen on.
host_address() {
  getent ahostsv4 "$host" | awk '{ print $1; exit }' | grep . ||
    die "the host name $host has no address; add the line '127.0.1.1 $host' to /etc/hosts"
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails when it has not by then.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" &> /dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# pids [PROGRAM]: this cluster's processes, or those that run PROGRAM. Slurm's helpers overwrite their environment,
# but stay in the directory of their daemon.
pids() {
  local pid
  {
    grep --files-with-matches --null-data --line-regexp --fixed-strings -e "$mark" /proc/[0-9]*/environ
    find /proc/[0-9]*/cwd -lname "$dir/run*"
  } 2> /dev/null | cut -d / -f 3 | sort -u | while read -r pid; do
    [ $# -eq 0 ] || [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$1" ] && echo "$pid"
  done || true
}

gone() { [ -z "$(pids "$@")" ]; }

# without_profile COMMAND...: run it, where that is allowed, so that login shells read no file of this user's. Schedulers
# start jobs in such shells, which may take a second each; a job that a test kills might leave a lock in the user's home.
without_profile() {
  local home
  home=$(getent passwd "$(id -u)" | cut -d : -f 6)
  unshare --mount true 2> /dev/null || exec "$@"
  # shellcheck disable=SC2016  # for the inner shell
  exec unshare --mount bash -c '
    for file in "$0"/.{bash_profile,bash_login,profile,bashrc}; do
      [ ! -f "$file" ] || mount --bind /dev/null "$file"
    done
    exec "$@"' "$home" "$@"
}

# spawn LOG COMMAND...: a daemon in a session and an environment of its own; what it prints goes to the log.
spawn() {
  local log=$dir/log/$1.log
  shift
  # shellcheck disable=SC2016  # for the inner shell
  without_profile setsid env --ignore-environment --chdir="$dir/run" PATH="$PATH" "$mark" \
    bash -c '. ../env.sh && exec "$@"' daemon "$@" < /dev/null >> "$log" 2>&1 &
  disown
}

# started PROGRAM COMMAND...: wait until the command succeeds, else end with the logs; a reason may be in another's.
started() {
  if ! wait_for 20 "${@:2}"; then
    tail -n 12 "$dir"/log/* >&2
    die "$1 did not start; see the logs above"
  fi
}

# signal NAME [PROGRAM]
signal() { pids "${@:2}" | xargs --no-run-if-empty kill "-$1" 2> /dev/null || true; }

# end [PROGRAM]: TERM, and KILL what is left after a while.
end() {
  signal TERM "$@"
  if ! wait_for 10 gone "$@"; then
    signal KILL "$@"
    wait_for 10 gone "$@" || die "cannot end process $(pids "$@" | xargs)"
  fi
}

# clear_directory: what an earlier cluster left in $dir goes, except its ports.
clear_directory() {
  mkdir -p "$dir"
  [ -e "$dir/ports" ] || [ -z "$(ls -A "$dir")" ] || die "$dir has other files; give a directory of its own"
  find "$dir" -mindepth 1 ! -path "$dir/ports" -delete
  mkdir "$dir/log" "$dir/run"
}

# free_ports: the first of 16 ports that nobody listens on, those of the last start when they still are free.
# They lie above the ports that the kernel gives to outgoing connections.
free_ports() {
  local block
  block=$(cat "$dir/ports" 2> /dev/null) || block=none
  while [ "$block" = none ] || grep -q ":${block}[0-9A-F] [0-9A-F]*:0000 0A" /proc/net/tcp*; do
    block=$(printf %03X $((0xEE5 + RANDOM % 272)))
  done
  echo "$block" > "$dir/ports"
  echo $((16#${block}0))
}
