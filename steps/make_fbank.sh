#!/usr/bin/env bash
# Extract filterbanks of a data directory into archives.
# Options and file names are those of Kaldi's steps/make_fbank.sh; archives are float32 and uncompressed.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
[ -f path.sh ] || { echo "make_fbank.sh: start it in the recipe's folder, as steps/make_fbank.sh" >&2; exit 1; }

# Begin configuration section.
nj=4                            # N: parallel jobs
cmd=steps/parallel/run.py       # RUNNER: job runner
fbank_config=conf/fbank.conf    # FILE: options of steps/compute_fbank.py
# End configuration section.
. steps/options_help.sh

help_message="Usage: steps/make_fbank.sh [options] <data-dir> [<log-dir> [<fbank-dir>]]
 e.g.: steps/make_fbank.sh --nj 4 --cmd \"\$train_cmd\" data/iemocap
<log-dir> defaults to <data-dir>/log, <fbank-dir> to <data-dir>/data.
Options:
$(options_help steps/make_fbank.sh)
"
echo "$0 $*"
. steps/parse_options.sh
. ./path.sh
. steps/feature_stage.sh
[ $# -ge 1 ] && [ $# -le 3 ] || { printf '%s' "$help_message" >&2; exit 1; }

data=$1
logdir=${2:-$data/log}
fbankdir=${3:-$data/data}
name=$(basename "$data")
check_names "$data" "$logdir" "$fbankdir"
check_files "$data/wav.scp" "$fbank_config"
steps/validate_data_dir.py --no-text --no-feats --before-features "$data"
total=$(num_utterances "$data")
nj=$(num_jobs "$nj" "$total")

mkdir -p "$data/conf"
cp "$fbank_config" "$data/conf/fbank.conf.new"
prefix=$fbankdir/.raw_fbank_$name/raw_fbank_$name
remove_pieces "$prefix"
# shellcheck disable=SC2086 # a runner is a command with options
$cmd JOB=1:"$nj" "$logdir/make_fbank_$name.JOB.log" \
  steps/compute_fbank.py --config "$data/conf/fbank.conf.new" --job JOB --num-jobs "$nj" "$data" "$prefix.JOB"
show_skipped "$nj" "$logdir/make_fbank_$name"
check_share "$prefix" "$nj" "$total" "$data"
[ ! -f "$data/feats.scp" ] || { mkdir -p "$data/.backup" && mv "$data/feats.scp" "$data/.backup/"; }
rm -f "$data/vad.scp" "$data/functionals.scp"  # they belong to the frames of before
mv "$data/conf/fbank.conf.new" "$data/conf/fbank.conf"
for table in utt2num_frames utt2dur utt2audio_digest utt2audio_problem; do
  gather "$prefix" "$nj" "$table" "$data/$table"
done
steps/report_audio.py "$data"
shift_ms=$(sed -n 's/^[[:blank:]]*--frame-shift=\([0-9.]*\).*/\1/p' "$data/conf/fbank.conf" | tail -n 1)
awk -v ms="${shift_ms:-10}" 'BEGIN {printf "%.3f\n", ms / 1000}' > "$data/frame_shift"
publish "$prefix" "$nj" "$data/feats.scp"
echo "make_fbank.sh: wrote features of $(wc -l < "$data/feats.scp") of $total utterances: $data/feats.scp"
