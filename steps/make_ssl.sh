#!/usr/bin/env bash
# Compute hidden states of a wav2vec 2.0, HuBERT or WavLM on the disk as the features of a data directory.
# Options and file names are those of steps/make_fbank.sh, with raw_ssl_*.ark for raw_fbank_*.ark. Needs the Python
# package transformers; nothing is downloaded.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
[ -f path.sh ] || { echo "make_ssl.sh: start it in the recipe's folder, as steps/make_ssl.sh" >&2; exit 1; }

# Begin configuration section.
nj=4                            # N: parallel jobs
cmd=steps/parallel/run.py       # RUNNER: job runner
ssl_model=                      # DIR: the model: config.json, preprocessor_config.json and weights
ssl_layer=mean                  # LAYER: hidden states of this layer, from 0, or the plain mean of all of them
device=cpu                      # WORD: cpu, cuda or auto
# End configuration section.
. steps/options_help.sh

help_message="Usage: steps/make_ssl.sh --ssl-model DIR [options] <data-dir> [<log-dir> [<ssl-dir>]]
 e.g.: steps/make_ssl.sh --nj 4 --cmd \"\$train_cmd\" --ssl-model models/wav2vec2-base --ssl-layer 6 data/iemocap
<log-dir> defaults to <data-dir>/log, <ssl-dir> to <data-dir>/data.
Options:
$(options_help steps/make_ssl.sh)
"
echo "$0 $*"
. steps/parse_options.sh
. ./path.sh
. steps/feature_stage.sh
[ $# -ge 1 ] && [ $# -le 3 ] || { printf '%s' "$help_message" >&2; exit 1; }
[ -n "$ssl_model" ] || { echo "make_ssl.sh: needs --ssl-model DIR (see steps/make_ssl.sh --help)" >&2; exit 1; }

data=$1
logdir=${2:-$data/log}
ssldir=${3:-$data/data}
check_names "$data" "$logdir" "$ssldir" "$ssl_model"
check_files "$data/wav.scp"
mkdir -p "$data/conf"
steps/describe_ssl.py --ssl-layer "$ssl_layer" "$ssl_model" "$data/conf/ssl.conf.new"
make_features ssl "$data" "$logdir" "$ssldir" steps/compute_ssl.py --ssl-model "$ssl_model" --device "$device"
