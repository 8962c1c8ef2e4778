#!/usr/bin/env bash
# Take the features that a user has brought: check each matrix of feats.scp, and make what goes with them.
# Stands where steps/make_fbank.sh and steps/compute_vad.sh do for audio. Where there is no vad.scp, all frames count.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
[ -f path.sh ] || { echo "check_feats.sh: start it in the recipe's folder, as steps/check_feats.sh" >&2; exit 1; }

# Begin configuration section.
nj=4                            # N: parallel jobs
cmd=steps/parallel/run.py       # RUNNER: job runner
# End configuration section.
. steps/options_help.sh

help_message="Usage: steps/check_feats.sh [options] <data-dir> [<log-dir> [<vad-dir>]]
 e.g.: steps/check_feats.sh --nj 4 --cmd \"\$train_cmd\" data/mine
<log-dir> defaults to <data-dir>/log, <vad-dir> to <data-dir>/data.
Options:
$(options_help steps/check_feats.sh)
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
check_files "$data/feats.scp" "$data/frame_shift"
[ -f "$data/vad.scp" ] || echo "check_feats.sh: $data has no vad.scp, so all frames count as voiced"
steps/validate_data_dir.py --no-text --no-wav "$data"
total=$(wc -l < "$data/feats.scp")
nj=$(num_jobs "$nj" "$total")

mkdir -p "$data/conf"
awk '{printf "--frame-shift=%g\n", 1000 * $1}' "$data/frame_shift" > "$data/conf/extracted.conf.new"
prefix=$vaddir/.vad_$name/vad_$name
remove_pieces "$prefix"
# shellcheck disable=SC2086 # a runner is a command with options
$cmd JOB=1:"$nj" "$logdir/check_feats_$name.JOB.log" \
  steps/check_feats.py --job JOB --num-jobs "$nj" "$data" "$prefix.JOB"
show_skipped "$nj" "$logdir/check_feats_$name"
check_share "$prefix" "$nj" "$total" "$data"
keep_configuration extracted "$data"
for table in utt2num_frames utt2dur utt2audio_digest; do
  gather "$prefix" "$nj" "$table" "$data/$table"
done
: > "$data/utt2audio_problem"  # nobody has heard them
steps/report_audio.py "$data"
publish "$prefix" "$nj" "$data/vad.scp"
echo "check_feats.sh: $(wc -l < "$data/vad.scp") of $total utterances have features that can be used: $data/feats.scp"
