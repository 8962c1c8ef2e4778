#!/usr/bin/env bash
# Install Debian's Slurm, Grid Engine and Chromium for the tests that need a scheduler or a browser; quick when they
# are there.
#   tests/install_packages.sh
# Works as root where apt-get does; elsewhere it says why not and changes nothing. Starts no service.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" &>> "$log"
}

# are_there PROGRAM_OR_FILE...
are_there() {
  local name
  for name in "$@"; do
    [ -e "$name" ] || type -P "$name" > /dev/null || return 1
  done
}

# install_group WHAT "PROGRAM_OR_FILE..." PACKAGE...: unless these programs and files are there.
install_group() (
  what=$1
  read -ra needed <<< "$2"
  packages=("${@:3}")

  # give_up REASON: the tests skip what is not there, so this is no error.
  give_up() {
    echo "install_packages.sh: $what cannot be installed here ($1); their tests will be skipped" >&2
    exit 0
  }
  install_packages() { apt install --yes --no-install-recommends "${packages[@]}"; }

  are_there "${needed[@]}" && exit 0
  [ "$EUID" -eq 0 ] || give_up "not root"
  type -P apt-get > /dev/null || give_up "no apt-get"

  trap 'give_up "failed: $BASH_COMMAND"' ERR
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  [[ " ${packages[*]} " != *" gridengine-master "* ]] ||
    echo "gridengine-common shared/gridengineconfig boolean false" | debconf-set-selections
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d  # forbids the packages to start their services
    chmod +x /usr/sbin/policy-rc.d
  fi
  install_packages || { apt update && install_packages; } ||
    give_up "apt-get failed: $(grep '^E:' "$log" | tail -n 1)"
  are_there "${needed[@]}" || give_up "the packages lack something of ${needed[*]}"
)

schedulers=(slurmctld slurmd slurm-client munge gridengine-master gridengine-exec gridengine-client)
# Grid Engine's packages ask for a mail transport agent; the smallest, unless there is one.
[ -x /usr/sbin/sendmail ] || schedulers+=(msmtp-mta)
install_group "Slurm and Grid Engine" \
  "slurmctld slurmd sbatch munged qsub /usr/lib/gridengine/sge_qmaster /usr/lib/gridengine/sge_execd" "${schedulers[@]}"
install_group "Chromium and a font" "chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf" \
  chromium fonts-dejavu-core
