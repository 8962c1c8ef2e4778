#!/usr/bin/env bash
# What make_fbank.sh, make_ssl.sh, check_feats.sh, compute_vad.sh and make_functionals.sh have in common: what they do with
# the pieces of their jobs; sourced by them.
#
# Jobs write to a directory of their own. Only when enough of them came out are the archives moved up to where
# they stay, so a stage that fails leaves the scp of an earlier run and the archives that it points into.

# num_utterances <data-dir>: utterances are segments, or recordings where there are none.
num_utterances() {
  if [ -f "$1/segments" ]; then wc -l < "$1/segments"; else wc -l < "$1/wav.scp"; fi
}

# check_files <file>...: fail when one is missing.
check_files() {
  local f
  for f in "$@"; do
    [ -f "$f" ] || { echo "${0##*/}: $f: no such file" >&2; return 1; }
  done
}

# check_names <path>...: fail for a path in which job runners would put the number of a job.
check_names() {
  local path
  for path in "$@"; do
    [[ ! $path =~ (^|[^[:alnum:]_])JOB($|[^[:alnum:]_]) ]] || {
      echo "${0##*/}: $path: JOB stands for the number of a job; take another name" >&2
      return 1
    }
  done
}

# num_jobs <nj> <total>: no more jobs than utterances.
num_jobs() {
  [[ $1 =~ ^[1-9][0-9]{0,5}$ ]] || { echo "${0##*/}: --nj needs a number above 0, not '$1'" >&2; return 1; }
  echo $(($1 < $2 ? $1 : $2))
}

# show_skipped <nj> <log-prefix>: repeat what the jobs left out, at most ten lines; the logs have all.
show_skipped() {
  local n
  for n in $(seq "$1"); do
    sed -n 's/^[^(]*([^)]*) \(skipping .*\)/\1/p' "$2.$n.log"
  done | awk -v name="${0##*/}" -v logs="$2.*.log" 'NR <= 10 {print name ": " $0}
    END {if (NR > 10) print name ": and " NR - 10 " more, all are in " logs}' >&2
}

# check_share <new-prefix> <nj> <total> <data-dir>: fail when under 95 % came out.
check_share() {
  local n made=0
  for n in $(seq "$2"); do
    made=$((made + $(wc -l < "$1.$n.scp")))
  done
  if [ $((made * 100)) -lt $(($3 * 95)) ]; then
    echo "${0##*/}: only $made of $3 utterances of $4 came out, fewer than 95 %; mend what is named above" >&2
    return 1
  fi
  [ "$made" -eq "$3" ] || echo "${0##*/}: $made of $3 utterances of $4 came out; to leave out the others," \
    "run steps/fix_data_dir.py $4" >&2
}

# make_features <kind> <data-dir> <log-dir> <archive-dir> <command>...: have jobs of a command, which takes what
# compute_fbank.py takes, make the features that <data-dir>/conf/<kind>.conf.new says, and all that goes with them.
# shellcheck disable=SC2154 # cmd and nj are options of the scripts
make_features() {
  local kind=$1 data=$2 logdir=$3 archivedir=$4 total name prefix table shift_ms
  shift 4
  steps/validate_data_dir.py --no-text --no-feats --before-features "$data"
  total=$(num_utterances "$data")
  nj=$(num_jobs "$nj" "$total")
  name=$(basename "$data")
  prefix=$archivedir/.raw_${kind}_$name/raw_${kind}_$name
  remove_pieces "$prefix"
  # shellcheck disable=SC2086 # a runner is a command with options
  $cmd JOB=1:"$nj" "$logdir/make_${kind}_$name.JOB.log" \
    "$@" --config "$data/conf/$kind.conf.new" --job JOB --num-jobs "$nj" "$data" "$prefix.JOB"
  show_skipped "$nj" "$logdir/make_${kind}_$name"
  check_share "$prefix" "$nj" "$total" "$data"
  [ ! -f "$data/feats.scp" ] || { mkdir -p "$data/.backup" && mv "$data/feats.scp" "$data/.backup/"; }
  rm -f "$data/vad.scp" "$data/functionals.scp"  # they belong to the frames of before
  keep_configuration "$kind" "$data"
  for table in utt2num_frames utt2dur utt2audio_digest utt2audio_problem; do
    gather "$prefix" "$nj" "$table" "$data/$table"
  done
  steps/report_audio.py "$data"
  shift_ms=$(sed -n 's/^[[:blank:]]*--frame-shift=\([0-9.]*\).*/\1/p' "$data/conf/$kind.conf" | tail -n 1)
  awk -v ms="${shift_ms:-10}" 'BEGIN {printf "%.3f\n", ms / 1000}' > "$data/frame_shift"
  publish "$prefix" "$nj" "$data/feats.scp"
  echo "${0##*/}: wrote features of $(wc -l < "$data/feats.scp") of $total utterances: $data/feats.scp"
}

# keep_configuration <kind> <data-dir>: conf/<kind>.conf.new is that of the features from now on, and no other is.
keep_configuration() {
  rm -f "$2"/conf/{fbank,ssl,extracted}.conf
  mv "$2/conf/$1.conf.new" "$2/conf/$1.conf"
}

# gather <new-prefix> <nj> <extension> <target>: join the pieces in job order, which is sorted order; the archives that
# an scp names lie one directory higher by then.
gather() {
  local n
  for n in $(seq "$2"); do
    sed 's|/[^/]*\(/[^/]*\.ark:[0-9]*\)$|\1|' "$1.$n.$3"
  done > "$4.new"
  mv "$4.new" "$4"
}

# publish <new-prefix> <nj> <scp>: move the archives up, then write the scp that names them there.
publish() {
  mv "${1%/*}"/*.ark "${1%/*/*}/"
  gather "$1" "$2" scp "$3"
  remove_pieces "$1"
}

# remove_pieces <new-prefix>: remove the directory of the jobs, with what they, also killed ones, have written into it.
remove_pieces() {
  [ -d "${1%/*}" ] || return 0
  rm -f "$1".* "${1%/*}/.${1##*/}".*
  rmdir "${1%/*}" 2> /dev/null || {
    echo "${0##*/}: ${1%/*}: holds files that are not of this script; move them away" >&2
    return 1
  }
}
