#!/usr/bin/env bash
# Describe each utterance of a data directory by one vector, functionals of librosa's descriptors, for
# steps/train_classical.py.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
[ -f path.sh ] || { echo "make_functionals.sh: start it in the recipe's folder, as steps/make_functionals.sh" >&2; exit 1; }

# Begin configuration section.
nj=4                            # N: parallel jobs
cmd=steps/parallel/run.py       # RUNNER: job runner
# End configuration section.
. steps/options_help.sh

help_message="Usage: steps/make_functionals.sh [options] <data-dir> [<log-dir> [<archive-dir>]]
 e.g.: steps/make_functionals.sh --nj 4 --cmd \"\$train_cmd\" data/iemocap
<log-dir> defaults to <data-dir>/log, <archive-dir> to <data-dir>/data.
Options:
$(options_help steps/make_functionals.sh)
"
echo "$0 $*"
. steps/parse_options.sh
. ./path.sh
. steps/feature_stage.sh
[ $# -ge 1 ] && [ $# -le 3 ] || { printf '%s' "$help_message" >&2; exit 1; }

data=$1
logdir=${2:-$data/log}
archivedir=${3:-$data/data}
name=$(basename "$data")
check_names "$data" "$logdir" "$archivedir"
check_files "$data/wav.scp" "$data/vad.scp" "$data/conf/fbank.conf" || {
  echo "make_functionals.sh: run steps/make_fbank.sh $data and steps/compute_vad.sh $data first" >&2
  exit 1
}
total=$(wc -l < "$data/vad.scp")
nj=$(num_jobs "$nj" "$total")

prefix=$archivedir/.functionals_$name/functionals_$name
remove_pieces "$prefix"
# shellcheck disable=SC2086 # a runner is a command with options
$cmd JOB=1:"$nj" "$logdir/functionals_$name.JOB.log" \
  steps/compute_functionals.py --job JOB --num-jobs "$nj" "$data" "$prefix.JOB"
show_skipped "$nj" "$logdir/functionals_$name"
check_share "$prefix" "$nj" "$total" "$data"
publish "$prefix" "$nj" "$data/functionals.scp"
echo "make_functionals.sh: wrote functionals of $(wc -l < "$data/functionals.scp") of $total utterances:" \
  "$data/functionals.scp"
