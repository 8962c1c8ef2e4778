#!/usr/bin/env bash
# A private Slurm cluster on this host for tests, without systemd.
#   tests/clusters/slurm.sh start /tmp/slurm
#   . /tmp/slurm/env.sh; sbatch --wait --wrap hostname
#   tests/clusters/slurm.sh stop /tmp/slurm
# Usage: slurm.sh start|stop|status DIR. Each node has 4 CPUs, 7000 MB and 2 GPUs (not real ones); SLURM_NODES=2
# gives two nodes, each with a slurmd of its own, SLURM_ARRAY_SIZE=5 arrays of up to task 4. Partitions: shared (the
# default) and gpu. Works as any user.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,8s/^# \?//p' "$0" >&2; exit 1; }
action=$1 dir=$(realpath -m "$2") nodes=${SLURM_NODES:-1}
mark=SLURM_CLUSTER_NAME=test$(cksum <<< "$dir" | cut -d ' ' -f 1)
. "$(dirname "$0")/common.sh"
export SLURM_CONF=$dir/slurm.conf

write_config() {
  local address port node
  address=$(host_address)
  port=$(free_ports)
  echo "export SLURM_CONF=$SLURM_CONF" > "$dir/env.sh"
  echo "CgroupAutomount=no" > "$dir/cgroup.conf"
  printf 'Name=gpu File=%s\n' /dev/null /dev/zero > "$dir/gres.conf"  # any two devices will do
  cat > "$SLURM_CONF" << CONF
ClusterName=${mark#*=}
SlurmctldHost=$host($address)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$port
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/slurmctld
SlurmdSpoolDir=$dir/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/%n.pid
SlurmctldSyslogDebug=quiet
SlurmdSyslogDebug=quiet
MailProg=/bin/true
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
EnforcePartLimits=ALL
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=60
KillWait=2
MaxArraySize=${SLURM_ARRAY_SIZE:-1001}
CONF
  for ((node = 1; node <= nodes; node++)); do
    echo "NodeName=node$node NodeHostname=$host NodeAddr=$address Port=$((port + node))" \
      "CPUs=4 RealMemory=7000 Gres=gpu:2"
  done >> "$SLURM_CONF"
  cat >> "$SLURM_CONF" << CONF
PartitionName=shared Nodes=ALL Default=YES MaxTime=240
PartitionName=gpu Nodes=ALL MaxTime=240
CONF
}

running() { ! gone munged && ! gone slurmctld && [ "$(pids slurmd | wc -l)" -eq "$nodes" ]; }
controller_up() { scontrol ping | grep -q "is UP"; }
nodes_idle() { [ "$(sinfo --noheader --partition shared --Node --format %T | grep -cx idle)" -eq "$nodes" ]; }
no_jobs() { [ -z "$(squeue --noheader)" ]; }

start() {
  local node
  clear_directory
  write_config
  mkdir -m 700 "$dir/slurmctld"
  (umask 077 && head -c 128 /dev/urandom > "$dir/munge.key")
  trap stop EXIT
  spawn munged munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
    --pid-file="$dir/munged.pid" --seed-file="$dir/munge.seed"
  started munged munge --socket="$dir/munge.socket" --no-input
  spawn slurmctld slurmctld -D -i
  started slurmctld controller_up
  for ((node = 1; node <= nodes; node++)); do
    spawn "slurmd.node$node" slurmd -D -N "node$node"
  done
  started slurmd nodes_idle
  trap - EXIT
}

stop() {
  local program
  if [ -e "$SLURM_CONF" ] && ! gone slurmctld && controller_up; then
    scancel --user="$(id -un)" --quiet || true
    wait_for 15 no_jobs || true
  fi
  for program in slurmd slurmstepd slurmctld munged; do
    end "$program"
  done
  end
}

need munged slurmctld slurmd sbatch
case $action in
  start) running || { stop; start; } ;;
  stop) stop ;;
  status) running || die "no cluster runs in $dir"; sinfo --Node --long && squeue ;;
  *) die "$action is none of start, stop, status" ;;
esac
