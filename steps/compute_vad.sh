#!/usr/bin/env bash
# Decide for each feature frame of a data directory whether it is voiced (webrtcvad).
# File names and the payload of vad.scp are those of Kaldi's steps/compute_vad_decision.sh.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
[ -f path.sh ] || { echo "compute_vad.sh: start it in the recipe's folder, as steps/compute_vad.sh" >&2; exit 1; }

# Begin configuration section.
nj=4                            # N: parallel jobs
cmd=steps/parallel/run.py       # RUNNER: job runner
vad_config=conf/vad.conf        # FILE: options of steps/compute_vad.py
# End configuration section.
. steps/options_help.sh

help_message="Usage: steps/compute_vad.sh [options] <data-dir> [<log-dir> [<vad-dir>]]
 e.g.: steps/compute_vad.sh --nj 4 --cmd \"\$train_cmd\" data/iemocap
<log-dir> defaults to <data-dir>/log, <vad-dir> to <data-dir>/data.
Options:
$(options_help steps/compute_vad.sh)
"
echo "$0 $*"
. steps/parse_options.sh
. ./path.sh
. steps/feature_stage.sh
[ $# -ge 1 ] && [ $# -le 3 ] || { printf '%s' "$help_message" >&2; exit 1; }

data=$1
logdir=${2:-$data/log}
vaddir=${3:-$data/data}
name=$(basename "$data")
check_names "$data" "$logdir" "$vaddir"
check_files "$vad_config"
grid=$data/conf/fbank.conf
[ ! -f "$data/conf/ssl.conf" ] || grid=$data/conf/ssl.conf
check_files "$data/feats.scp" "$data/utt2num_frames" "$grid" || {
  echo "compute_vad.sh: run steps/make_fbank.sh $data first, or steps/make_ssl.sh" >&2
  exit 1
}
total=$(wc -l < "$data/feats.scp")
nj=$(num_jobs "$nj" "$total")

cp "$vad_config" "$data/conf/vad.conf"
prefix=$vaddir/.vad_$name/vad_$name
remove_pieces "$prefix"
# shellcheck disable=SC2086 # a runner is a command with options
$cmd JOB=1:"$nj" "$logdir/vad_$name.JOB.log" \
  steps/compute_vad.py --config "$data/conf/vad.conf" --job JOB --num-jobs "$nj" "$data" "$prefix.JOB"
show_skipped "$nj" "$logdir/vad_$name"
check_share "$prefix" "$nj" "$total" "$data"
rm -f "$data/vad.scp" "$data/functionals.scp"  # which describe the voiced frames of before
publish "$prefix" "$nj" "$data/vad.scp"
echo "compute_vad.sh: wrote decisions for $(wc -l < "$data/vad.scp") of $total utterances: $data/vad.scp"
