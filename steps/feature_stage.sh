#!/usr/bin/env bash
# What make_fbank.sh, compute_vad.sh and make_functionals.sh do with the pieces of their jobs; sourced by them.
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
