# shellcheck shell=bash disable=SC2034,SC2154
# Which stages must run, and that no two runs work in one place; sourced by run.sh, whose variables these are.

# lock_exp_dir: refuse a second run into the same directory. The kernel drops the lock when this run and its jobs have
# ended, however that came about; those of a killed run take some seconds.
lock_exp_dir() {
  require_writable "$exp_dir"
  command -v flock > /dev/null || die "no flock in PATH; install util-linux"
  exec 9> "$exp_dir/.lock"
  flock -w 10 9 || die "another run.sh is working in $exp_dir; wait for it or give another --exp-dir"
}

# require_same_corpus: refuse a run on another corpus or protocol than the results in the directory are from.
require_same_corpus() {
  local asked="$emotion_data $protocol" held
  held=$(cat "$exp_dir/.corpus" 2> /dev/null || true)
  [ -z "$held" ] || [ "$held" = "$asked" ] ||
    die "$exp_dir holds results of $held, these would be of $asked; give another --exp-dir or remove $exp_dir"
  echo "$asked" > "$exp_dir/.corpus"
}

# record_command: add this call to the directory's list.
record_command() {
  echo "$(date --iso-8601=seconds)	./run.sh$(printf ' %q' "${arguments[@]}")" >> "$exp_dir/commands"
}

# lock_data_dir: wait while another run makes data directories there; unlock_data_dir lets the next one go on.
lock_data_dir() {
  [ -e "$data_dir" ] && [ ! -w "$data_dir" ] && return  # whatever is missing there will say so
  mkdir -p "$data_dir"
  exec 8> "$data_dir/.lock"
  flock -n 8 || { log "another run.sh makes data directories in $data_dir, waiting for it"; flock 8; }
}
unlock_data_dir() { exec 8>&-; }

# is_in_run N: stage N is not after --stop-stage; stage 0 is for the mini corpora alone.
is_in_run() {
  [ "$1" -le "$stop_stage" ] && { [ "$1" -gt 0 ] || [ "$corpus" = mini ]; }
}

# is_left_out N: stage N comes before --stage.
is_left_out() { [ "$1" -lt "${stage:-0}" ]; }

# is_done MARKER KEY: the stage was done with the same key, and --stage does not ask for it again.
is_done() { [ -z "$stage" ] && [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# begin N WHAT [MARKER KEY]: whether stage N must run, which is logged. MARKER keeps the KEY that the stage was done
# with; a stage without a marker knows by itself what is done.
begin() {
  is_in_run "$1" || return 1
  if is_left_out "$1"; then
    log "stage $1: $2: left out, because of --stage $stage"
    return 1
  fi
  if [ $# -gt 2 ] && is_done "$3" "$4"; then
    log "stage $1: $2: already done"
    return 1
  fi
  log "stage $1: $2"
  [ $# -eq 2 ] || open_marker "$3" "$4"
}

# open_marker MARKER KEY: the stage is no longer done, nor are those that were made from its output.
open_marker() {
  marker=$1
  marker_key=$2
  local later
  for later in "${marker%.*}".[1-3]; do
    [[ $later < $marker ]] || rm -f "$later"
  done
  rm -f "$marker"
}

# end: the stage that begin() began is done.
end() {
  mkdir -p "$(dirname "$marker")"
  printf '%s\n' "$marker_key" > "$marker"
}
