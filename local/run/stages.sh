# shellcheck shell=bash disable=SC2034,SC2154
# Which stages must run, and that no two runs work in one place; sourced by run.sh, whose variables these are.

# require_writable DIR: make a folder when it is missing.
require_writable() {
  mkdir -p "$1" && [ -w "$1" ] || die "$1: cannot be written to; give another --exp-dir or --data-dir"
}

# wait_for_data DIR: while another run.sh makes data directories there, wait; end_of_data lets the next one go on.
wait_for_data() {
  [ -e "$1" ] && [ ! -w "$1" ] && return  # whatever is missing there will say so
  mkdir -p "$1"
  exec 8> "$1/.lock"
  flock -n 8 || { log "another run.sh makes data directories in $1, waiting for it"; flock 8; }
}
end_of_data() { exec 8>&-; }

# claim DIR: refuse a second run into the same directory, and one on another corpus than its results are from. The
# kernel drops the lock when this run and its jobs have ended, however that came about; those of a killed run take
# some seconds.
claim() {
  require_writable "$1"
  command -v flock > /dev/null || die "no flock in PATH; install util-linux"
  exec 9> "$1/.lock"
  flock -w 10 9 || die "another run.sh is working in $1; wait for it or give another --exp-dir"
  local of="$ser $protocol"
  [ ! -s "$1/.corpus" ] || [ "$(cat "$1/.corpus")" = "$of" ] ||
    die "$1 holds results of $(cat "$1/.corpus"), these would be of $of; give another --exp-dir or remove $1"
  echo "$of" > "$1/.corpus"
  echo "$(date --iso-8601=seconds)	./run.sh$(printf ' %q' "${arguments[@]}")" >> "$1/commands"
}

# wanted N WHAT: whether stage N is inside --stage and --stop-stage.
wanted() {
  if [ "$1" -gt "$stop_stage" ]; then return 1; fi
  if [ "$1" -eq 0 ] && [ "$corpus" != mini ]; then return 1; fi
  if [ -n "$stage" ] && [ "$1" -lt "$stage" ]; then
    log "stage $1: $2: left out, because of --stage $stage"
    return 1
  fi
}

# begin N WHAT MARKER KEY: true when the stage must run; MARKER keeps the KEY that it was done with.
begin() {
  wanted "$1" "$2" || return 1
  if [ -z "$stage" ] && [ -f "$3" ] && [ "$(cat "$3")" = "$4" ]; then
    log "stage $1: $2: already done"
    return 1
  fi
  log "stage $1: $2"
  marker=$3 marker_key=$4
  local later
  for later in "${marker%.*}".[1-3]; do  # what was made from the output of before
    [[ $later < $marker ]] || rm -f "$later"
  done
  rm -f "$marker"
}

# end: the stage that begin() began is done.
end() {
  mkdir -p "$(dirname "$marker")"
  printf '%s\n' "$marker_key" > "$marker"
}

# begin_training N WHAT: for stages that know by themselves what is done.
begin_training() {
  wanted "$1" "$2" || return 1
  restart=false
  if [ -n "$stage" ]; then restart=true; fi
  log "stage $1: $2"
}
