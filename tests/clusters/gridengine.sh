#!/usr/bin/env bash
# A private Grid Engine cell on this host for tests, without systemd.
#   tests/clusters/gridengine.sh start /tmp/gridengine
#   . /tmp/gridengine/env.sh; qsub -sync y -b y hostname
#   tests/clusters/gridengine.sh stop /tmp/gridengine
# Usage: gridengine.sh start|stop|status DIR. The host has 4 slots (-pe smp 2), 6 GB (-l ram_free=1G) and 2 GPUs, not
# real ones (-l gpu=1, which sets no CUDA variable). Works as root only.
# shellcheck disable=SC1091  # the env.sh that it writes
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 1; }
action=$1 dir=$(realpath -m "$2")
mark=SGE_TEST_CELL=$dir
. "$(dirname "$0")/common.sh"
# Debian's qsub, qstat and so on start some sixty processes to find out where they are; here are the programs themselves.
programs=/usr/lib/gridengine
PATH=$programs:$PATH
resources=/usr/share/gridengine/util/resources

# write_cell: all that the qmaster reads when it starts.
write_cell() {
  local port part common=$dir/root/test/common
  host_address > /dev/null
  port=$(free_ports)
  mkdir -p "$common" "$dir/qmaster/job_scripts" "$dir/execd"
  for part in bin lib util utilbin; do
    ln -s "/var/lib/gridengine/$part" "$dir/root/$part"
  done
  cat > "$dir/env.sh" << ENV
export SGE_ROOT=$dir/root SGE_CELL=test SGE_CLUSTER_NAME=test SGE_ARCH=$("$dir/root/util/arch")
export SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1)) PATH=$programs:\$PATH
ENV
  . "$dir/env.sh"
  echo "$host" > "$common/act_qmaster"
  echo "$host localhost" > "$common/host_aliases"
  cat > "$common/bootstrap" << BOOTSTRAP
admin_user        none
default_domain    none
ignore_fqdn       true
spooling_method   classic
spooling_lib      libspoolc
spooling_params   $common;$dir/qmaster
binary_path       $programs
qmaster_spool_dir $dir/qmaster
security_mode     none
listener_threads  2
worker_threads    2
scheduler_threads 1
BOOTSTRAP
  # Each of the cells on this host has to mark its jobs with group ids of its own.
  sed -e "s|^\(execd_spool_dir\) .*|\1 $dir/execd|" -e "s/^\(gid_range\) .*/\1 $port-$((port + 15))/" \
    -e 's/^\(min_[ug]id\) .*/\1 0/' -e 's|^\(mailer\) .*|\1 /bin/true|' \
    -e 's/^\(reporting_params .*\)/\1 accounting_flush_time=00:00:00/' \
    /usr/share/gridengine/default-configuration > "$dir/configuration"
  spoolinit classic libspoolc "$common;$dir/qmaster" init
  spooldefaults configuration "$dir/configuration"
  spooldefaults complexes "$resources/centry"
  spooldefaults usersets "$resources/usersets"
}

# configure: what only a running qmaster takes.
configure() {
  qconf -as "$host"
  qconf -sc > "$dir/complexes"
  printf '%s\n' 'gpu gpu INT <= YES YES 0 0' 'ram_free ram_free MEMORY <= YES YES 0 0' >> "$dir/complexes"
  qconf -Mc "$dir/complexes"
  qconf -ssconf | sed -e 's/^\(schedule_interval\) .*/\1 0:0:1/' -e 's/^\(flush_[a-z]*_sec\) .*/\1 1/' \
    > "$dir/scheduler"
  qconf -Msconf "$dir/scheduler"
  qconf -Ap "$resources/pe/smp"
  qconf -sq | sed -e 's/^\(qname\) .*/\1 all.q/' -e "s/^\(hostlist\) .*/\1 $host/" -e 's/^\(slots\) .*/\1 4/' \
    -e 's/^\(pe_list\) .*/\1 smp/' -e 's|^\(shell\) .*|\1 /bin/bash|' -e 's/^\(load_thresholds\) .*/\1 NONE/' \
    > "$dir/queue"
  qconf -Aq "$dir/queue"
  qconf -mattr exechost complex_values gpu=2,ram_free=6G "$host"
}

running() { ! gone sge_qmaster && ! gone sge_execd; }
queue_open() { qstat -f | grep -q "^all.q@.* [0-9.]* *lx-[^ ]* *$"; }
no_jobs() { [ -z "$(qstat -u '*')" ]; }

start() {
  clear_directory
  write_cell
  trap stop EXIT
  spawn sge_qmaster env SGE_ND=1 sge_qmaster
  started sge_qmaster qconf -sh
  configure > "$dir/log/configure.log" 2>&1 || die "cannot configure the cell: $(cat "$dir/log/configure.log")"
  spawn sge_execd env SGE_ND=1 sge_execd
  started sge_execd queue_open
  trap - EXIT
}

stop() {
  if [ -e "$dir/env.sh" ] && ! gone sge_qmaster; then
    . "$dir/env.sh"
    qdel -u '*' &> /dev/null || true
    wait_for 15 no_jobs || true
  fi
  end sge_execd
  signal KILL sge_qmaster  # takes 7 s to end by itself, and every start makes a new cell
  end
}

need sge_qmaster sge_execd qsub
[ "$EUID" -eq 0 ] || die "Grid Engine's daemons need root"
case $action in
  start) running || { stop; start; } ;;
  stop) stop ;;
  status) running || die "no cell runs in $dir"; . "$dir/env.sh" && qstat -f -u '*' ;;
  *) die "$action is none of start, stop, status" ;;
esac
