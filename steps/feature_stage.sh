#!/usr/bin/env bash
# What make_fbank.sh and compute_vad.sh do with the pieces of their jobs; sourced by both.

# num_utterances <data-dir>: utterances are segments, or recordings where there are none.
num_utterances() {
  if [ -f "$1/segments" ]; then wc -l < "$1/segments"; else wc -l < "$1/wav.scp"; fi
}

# show_skipped <nj> <log-prefix>: repeat what the jobs left out, at most ten lines.
show_skipped() {
  local n
  for n in $(seq "$1"); do
    sed -n 's/.*) \(skipping .*\)/\1/p' "$2.$n.log"
  done | awk 'NR <= 10 {print "'"${0##*/}"': " $0} END {if (NR > 10) print "… and " NR - 10 " more, see '"$2"'.*.log"}' >&2
}

# check_share <archive-prefix> <nj> <total> <data-dir>: fail when under 95 % came out.
check_share() {
  local n made=0
  for n in $(seq "$2"); do
    made=$((made + $(wc -l < "$1.$n.scp")))
  done
  [ "$made" -eq "$3" ] || echo "${0##*/}: $made of $3 utterances of $4 succeeded; to leave out the others," \
    "run steps/fix_data_dir.py $4" >&2
  if [ $((made * 100)) -lt $(($3 * 95)) ]; then
    echo "${0##*/}: fewer than 95 % of the utterances of $4 came out; mend the audio named above" >&2
    exit 1
  fi
}

# gather <archive-prefix> <nj> <extension> <target>: join the pieces in job order, which is sorted order.
gather() {
  local n
  for n in $(seq "$2"); do
    cat "$1.$n.$3"
  done > "$4.new"
  mv "$4.new" "$4"
}
