# shellcheck shell=bash disable=SC2034,SC2154
# Which stages must run, and that no two runs work in one experiment directory; sourced by run.sh, whose variables these
# are.

marker=        # of the stage that is running, if it has one
clock_of=      # the number of the stage that is timed; what it does, how many jobs it has, and when it began:
clock_what=
clock_jobs=
clock_start=

stage_beside=  # the process of a stage that the next ones do not wait for, and what it does:
what_beside=

# lock_exp_dir: refuse a second run into the same directory. The kernel drops the lock when this run and its jobs have
# ended, however that came about; those of a killed run take some seconds.
lock_exp_dir() {
  require_writable "$exp_dir"
  command -v flock > /dev/null || die "no flock in PATH; install util-linux"
  exec 9> "$exp_dir/.lock"
  flock -w 10 9 || die "another run.sh is working in $exp_dir; wait for it or give another --exp-dir"
}

# require_same_corpus: refuse a run on another corpus or protocol than the results in the directory are from, wherever
# the data is. record_corpus writes it down.
require_same_corpus() {
  local held
  held=$(cat "$exp_dir/.corpus" 2> /dev/null || true)
  [ -z "$held" ] || [ "$held" = "$corpus_and_protocol" ] ||
    die "$exp_dir holds results of $held, these would be of $corpus_and_protocol; give another --exp-dir or" \
      "remove $exp_dir"
}
record_corpus() {
  [ "$stop_stage" -lt 4 ] || echo "$corpus_and_protocol" > "$exp_dir/.corpus"
}

# record_command: add this call to the directory's list.
record_command() {
  echo "$(date --iso-8601=seconds)	./run.sh$(as_typed "${arguments[@]}")" >> "$exp_dir/commands"
}

# undo_stages: with --stage N take back stages N to --stop-stage, of the systems and seeds that are named. From here no
# stage depends on --stage. EXP/.redo says what a killed run was taking back; the next run goes on with that first.
undo_stages() {
  local data
  local undo=(local/experiment/undo_stages.py --config "$exp_dir/.redo" "$exp_dir")
  [ ! -f "$exp_dir/.redo" ] || { "${undo[@]}"; rm "$exp_dir/.redo"; }
  [ -n "$stage" ] || return 0
  for data in "${data_dirs[@]}"; do
    [ "$stage" -gt 3 ] || [ ! -e "$data/.source.json" ] || claim_data_dir "$data" "of --stage $stage"
  done
  {
    printf -- '--%s\n' "stage=$stage" "stop-stage=$stop_stage" "systems=$systems" "ablations=$ablations" "seeds=$seeds" \
      "pretrain-seeds=$pretrain_seeds"
    markers_from "$stage"
  } > "$exp_dir/.redo.new"
  mv "$exp_dir/.redo.new" "$exp_dir/.redo"
  "${undo[@]}"
  rm "$exp_dir/.redo"
}

# markers_from N: those of stages N to 3 that are in this run, as options of undo_stages.py.
markers_from() {
  local number
  for ((number = $1; number <= 3 && number <= stop_stage; number++)); do
    case $number in
      0) [ "$corpus" != mini ] || echo "--marker=$mini_root/.done" ;;
      1) printf -- '--marker=%s/.source.json\n' "${data_dirs[@]}" ;;
      2) printf -- '--marker=%s\n' "${data_dirs[@]/%//.done.2}" "$emotion_data/.done.2.functionals" ;;
      *) printf -- "--marker=%s/.done.$number\n" "${data_dirs[@]}" ;;
    esac
  done
}

# is_in_run N: stage N is not after --stop-stage; stage 0 is for the mini corpora alone.
is_in_run() {
  [ "$1" -le "$stop_stage" ] && { [ "$1" -gt 0 ] || [ "$corpus" = mini ]; }
}

# start_clock N WHAT, stop_clock: time a stage. EXP/log/times has the date, the stage, its jobs, its seconds and what it
# does of each stage that came to its end and had something to do; --dry-run tells of the last of them.
start_clock() {
  clock_of=$1
  clock_what=$2
  clock_jobs=1
  clock_start=$SECONDS
}
stop_clock() {
  if [ -n "$clock_of" ] && [ "$clock_jobs" -gt 0 ]; then
    mkdir -p "$exp_dir/log"
    printf '%s\t%s\t%s\t%s\t%s\n' "$(date --iso-8601=seconds)" "$clock_of" "$clock_jobs" "$((SECONDS - clock_start))" \
      "$clock_what" >> "$exp_dir/log/times"
  fi
  clock_of=
}

# stale_reason MARKER KEY: why the stage with this marker must run; nothing when it need not.
stale_reason() {
  if [ ! -f "$1" ]; then
    echo "it is not complete"
  elif [ "$(cat "$1")" != "$2" ]; then
    echo "its options have changed"
  fi
}

# begin N WHAT [MARKER KEY]: whether stage N must run, which is logged. MARKER keeps the KEY that the stage was done
# with; a stage without a marker knows by itself what is done.
begin() {
  is_in_run "$1" || return 1
  if [ $# -eq 2 ]; then
    stop_clock
    log "stage $1: $2"
    start_clock "$1" "$2"
  else
    begin_if "$(stale_reason "$3" "$4")" "$1" "$2" "$3" || return 1
    printf '%s\n' "$4" > "$marker.new"
  fi
}

# begin_if REASON N WHAT MARKER: the same, of a stage that must run when there is a reason. Then it is no longer done,
# nor are those that were made from its output.
begin_if() {
  stop_clock
  if [ -z "$1" ]; then
    log "stage $2: $3: already done"
    return 1
  fi
  if [ -f "$4" ]; then log "stage $2: $3: $1"; else log "stage $2: $3"; fi
  claim_data_dir "${4%/*}" "$1"
  marker=$4
  mkdir -p "${marker%/*}"
  case ${marker##*/} in
    .source.json) rm -f "${marker%/*}"/.done.[23]* ;;
    .done.2) rm -f "${marker%/*}"/.done.{2.functionals,3} ;;
  esac
  rm -f "$marker"
  start_clock "$2" "$3"
}

# end: the stage that begin() began is done.
end() {
  mv "$marker.new" "$marker"
  marker=
  stop_clock
}

# run_beside COMMAND...: do the stage that begin() began with a command, beside the next ones. await_beside waits for it.
run_beside() {
  { "$@"; end; } &
  stage_beside=$!
  what_beside=$clock_what
  marker=
  clock_of=
}
await_beside() {
  [ -z "$stage_beside" ] || wait "$stage_beside" || die "failed: $what_beside, see above; what else was done is kept"
  stage_beside=
}
