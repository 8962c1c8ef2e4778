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
check_names "$data" "$logdir" "$fbankdir"
check_files "$data/wav.scp" "$fbank_config"
mkdir -p "$data/conf"
cp "$fbank_config" "$data/conf/fbank.conf.new"
make_features fbank "$data" "$logdir" "$fbankdir" steps/compute_fbank.py
