#!/usr/bin/env bash
# Install Debian's Slurm and Grid Engine for the tests that need a scheduler; quick when they are there.
#   tests/clusters/install.sh
# Works as root where apt-get does; elsewhere it says why not and changes nothing. Starts no service.
set -euo pipefail

programs=(slurmctld slurmd sbatch munged qsub /usr/lib/gridengine/sge_qmaster /usr/lib/gridengine/sge_execd)
packages=(slurmctld slurmd slurm-client munge gridengine-master gridengine-exec gridengine-client)
PATH=$PATH:/usr/sbin:/sbin

# give_up REASON: the tests skip what is not there, so this is no error.
give_up() {
  echo "install.sh: Slurm and Grid Engine cannot be installed here ($1); their tests will be skipped" >&2
  exit 0
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" &>> "$log"
}

install_packages() { apt install --yes --no-install-recommends "${packages[@]}"; }

type -P "${programs[@]}" > /dev/null && exit 0
[ "$EUID" -eq 0 ] || give_up "not root"
type -P apt-get > /dev/null || give_up "no apt-get"

trap 'give_up "failed: $BASH_COMMAND"' ERR
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Grid Engine's packages ask for a mail transport agent; the smallest, unless there is one.
[ -x /usr/sbin/sendmail ] || packages+=(msmtp-mta)
echo "gridengine-common shared/gridengineconfig boolean false" | debconf-set-selections
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d  # forbids the packages to start their services
  chmod +x /usr/sbin/policy-rc.d
fi
install_packages || { apt update && install_packages; } ||
  give_up "apt-get failed: $(grep '^E:' "$log" | tail -n 1)"
type -P "${programs[@]}" > /dev/null || give_up "the packages lack a program of ${programs[*]}"
