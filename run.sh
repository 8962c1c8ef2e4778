#!/usr/bin/env bash
# Frontend attributes disentanglement for speech emotion recognition (Xi, Song, Dai, McLoughlin, Liu).
# Two corpora in, the paper's Table 2 out. A stage that is done is skipped; --stage N redoes from N.
# shellcheck disable=SC2034 # an option is used where its name is, in the sourced files
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"  # for `sh run.sh`
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")"
# A cluster that is given run.sh itself runs a copy of it.
[ -f path.sh ] || cd "${SLURM_SUBMIT_DIR:-${SGE_O_WORKDIR:-${PBS_O_WORKDIR:-.}}}"
[ -f path.sh ] || { echo "run.sh: $PWD is not the recipe's folder; start or submit ./run.sh there" >&2; exit 1; }

# Begin configuration section.
stage=                              # N: do this stage and the later ones again (default: continue)
stop_stage=7                        # N: end after this stage
cmd_backend=                        # WORD: where jobs run: local, slurm or sge (default: what cmd.sh says)
nj=$(env -u OMP_NUM_THREADS nproc)  # N: parallel jobs on the CPU
num_threads=                        # N: threads of pre-training on the CPU (default: --nj, mini: 1)
ngpu=0                              # N: GPUs of a node; a lone pre-training takes all, other jobs one each; 0: the CPU
num_nodes=1                         # N: nodes that pre-training spans, each with --ngpu GPUs; Slurm only
jobs_per_gpu=1                      # N: training jobs that share a GPU; local only
corpus=                             # NAME: mini or a corpus below (default: the one whose folder is given, else mini)
ser_data=                           # DIR: Kaldi data directory with utt2emo, instead of --corpus
allow_unlabelled=false              # BOOL: leave out utterances of --ser-data without a label, even more than 5 %
pretrain_data=                      # DIR: Kaldi data directory with speakers, instead of a corpus to pre-train on
pretrained=                         # DIR: extractor, instead of a corpus to pre-train on (default: the recipe's own)
scope=improvised                    # WORD: IEMOCAP: improvised or all
merge_excited=false                 # BOOL: IEMOCAP: count excited as happy
labels=four                         # WORD: EmoDB, RAVDESS, CREMA-D: four, the paper's classes, or all
subsets=train-clean-100             # NAMES: folders of LibriSpeech
protocol=                           # WORD: 10fold, 5fold, loso, kfold, auto (default: 10fold for IEMOCAP, else auto)
num_folds=5                         # N: folds of --protocol kfold
duplicates=drop                     # WORD: copies of a recording: drop, or keep (never in two parts of a fold)
systems=                            # NAMES: of conf/systems.conf (default: the whole table; mini: no strong family)
ablations=                          # NAMES: of conf/ablations.conf, for stage 8 (default: all of --systems)
seeds=0                             # NUMBERS: each trains all systems; the table has mean and deviation over seeds
pretrain_seeds=                     # NUMBERS: of the pre-training, one for each of --seeds, or one (default: --seeds)
final=false                         # BOOL: after the folds, also train each system on all speakers: EXP/SYSTEM/final
data_dir=data                       # DIR: data directories
exp_dir=exp                         # DIR: models and results
cross=                              # NAMES: finished experiments in --exp-dir: score the models of each on the others
feats_type=fbank                    # WORD: fbank; ssl: of --ssl-model; extracted: those of --ser-data, --pretrain-data
ssl_model=                          # DIR: wav2vec 2.0, HuBERT or WavLM on your disk; needs the package transformers
ssl_layer=mean                      # LAYER: hidden states of this layer, from 0, or the mean of all layers
fbank_config=conf/fbank.conf        # FILE: options of steps/compute_fbank.py
vad_config=conf/vad.conf            # FILE: options of steps/compute_vad.py
pretrain_config=                    # FILE: options of steps/pretrain.py (default: conf/pretrain.conf, mini: conf/mini)
finetune_config=                    # FILE: options of steps/finetune.py (default: conf/finetune.conf, mini: conf/mini)
dry_run=false                       # BOOL: print what would be done, and how long it took last time; change nothing
# End configuration section.
. steps/options_help.sh
. local/run/functions.sh
. local/run/corpora.sh
. local/run/data_dirs.sh
. local/run/stages.sh
. local/run/training.sh
. local/run/cross.sh
read_corpora  # makes the options --iemocap, --voxceleb1 … of conf/corpora.conf

help_message="Usage: ./run.sh [options]
  ./run.sh                                                 synthetic mini corpora, seven systems, on the CPU
  ./run.sh --corpus iemocap --iemocap DIR --voxceleb1 DIR  the paper's corpora
  ./run.sh --corpus cremad --cremad DIR --librispeech DIR  open ones
  ./run.sh --ser-data DIR                                  a Kaldi data directory of your own
  ./run.sh --ser-data DIR --pretrain-data DIR --feats-type extracted  the features in these, of any dimension
  ./run.sh --cross \"cremad mine\"                            models of exp/cremad on the data of exp/mine, and back
Stages: 0 mini corpora, 1 data directories, 2 features and VAD, 3 folds, 4 speaker pre-training, 5 fine-tuning and
scoring of each fold of each system, 6 results, 7 analysis: probes, Figure 1, plots, report.html. A stage that is done
is skipped. Only on request: 8 ablations (--stop-stage 8).
Options, of which NAMES and NUMBERS are quoted, separated by spaces:
$(options_help run.sh)
Corpora of emotion, and where they are:
$(corpora_help "${emotion_corpora[@]}")
Corpora to pre-train on, and where they are:
$(corpora_help "${speaker_corpora[@]}")
"
name_flags "$@"
set -- "${arguments[@]}"
. steps/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument '$1'; options are written --name value"
. ./path.sh
# Ctrl-C, TERM and a kill end the jobs of this run with it.
[ "${supervised-}" ] || supervised=true exec steps/parallel/kill_with_parent.py ./run.sh "${arguments[@]}"
. ./cmd.sh
[ -z "$cross" ] || score_across
check_options
if $dry_run; then
  require_same_corpus
  . local/run/dry_run.sh
  describe_run
else
  lock_exp_dir
  require_same_corpus
  record_command
  lock_data_dir
  undo_stages
  trap name_source EXIT
fi

if begin 0 "synthetic mini corpora" "$mini_root/.done" mini-3; then
  local/mini/make_mini_corpora.py --nj "$nj" "$mini_root"
  end
fi

if begin_preparation "$emotion_data" "${prepare_emotion_data[@]}"; then
  log_and_run "${prepare_emotion_data[@]}"
  local/make_folds.py --check true --protocol "$protocol" --num-folds "$num_folds" \
    --training-config "$finetune_config" "$emotion_data"
  end
fi
if [ "$models_to_pretrain" ] && begin_preparation "$speaker_data" "${prepare_speaker_data[@]}"; then
  log_and_run "${prepare_speaker_data[@]}"
  local/make_folds.py --check true --protocol identification --training-config "$pretrain_config" "$speaker_data"
  end
fi

for data in "${data_dirs[@]}"; do
  if begin 2 "${feats_type/extracted/given features} and VAD of $data" "$data/.done.2" "$(features_key)"; then
    make_features "$data"
    end
  fi
done
if [ "$with_functionals" ] &&
  begin 2 "functionals of $emotion_data" "$emotion_data/.done.2.functionals" functionals-1; then
  run_beside steps/make_functionals.sh --nj "$nj" --cmd "$train_cmd" "$emotion_data"
fi

if begin 3 "folds of $emotion_data" "$emotion_data/.done.3" "$protocol $num_folds $duplicates"; then
  local/make_folds.py --protocol "$protocol" --num-folds "$num_folds" --duplicates "$duplicates" \
    --training-config "$finetune_config" "$emotion_data"
  end
fi
if [ "$models_to_pretrain" ] &&
  begin 3 "held-out utterances of $speaker_data" "$speaker_data/.done.3" "identification $duplicates"; then
  local/make_folds.py --protocol identification --duplicates "$duplicates" --training-config "$pretrain_config" \
    "$speaker_data"
  end
fi
release_data_dir
record_corpus

if [ "$models_to_pretrain" ] && begin 4 "speaker pre-training"; then
  pretrain
fi
if [ "$pretrained" ] && begin 4 "extractor of $pretrained, nothing to pre-train"; then
  clock_jobs=0
  "${use_pretrained[@]}" copy
fi
await_beside

if begin 5 "fine-tuning and scoring"; then
  finetune "$systems"
fi
if [ "$final" = true ] && begin 5 "final models"; then
  finetune "$systems" --final true
fi

if begin 6 "results"; then
  local/results/make_results.py --systems "$systems" --seeds "$seeds" "$emotion_data" "$exp_dir"
  local/results/make_claims.py --systems "$systems" --seeds "$seeds" "$emotion_data" "$exp_dir"
fi

if begin 7 "analysis"; then
  analyse "$systems"
  if begin_pictures; then
    for script in make_figure1 make_probes make_wf1 make_confusions make_curves make_calibration; do
      begin_part "local/results/$script.py" --systems "$systems" --seeds "$seeds" "$emotion_data" "$exp_dir"
    done
  fi
  await_parts
  end_pictures
  part local/results/make_report.py --systems "$systems" --seeds "$seeds" "$emotion_data" "$exp_dir"
  require_all_parts
fi

if begin 8 "ablations"; then
  finetune "$ablations"
  local/results/make_results.py --systems "$systems $ablations" --seeds "$seeds" "$emotion_data" "$exp_dir"
  local/results/make_ablations.py --systems "$ablations" --seeds "$seeds" "$emotion_data" "$exp_dir"
  local/results/make_report.py --systems "$systems $ablations" --seeds "$seeds" "$emotion_data" "$exp_dir"
fi
stop_clock
[ "$stop_stage" -lt 6 ] || summary
