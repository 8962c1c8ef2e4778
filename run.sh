#!/usr/bin/env bash
# Frontend attributes disentanglement for speech emotion recognition (Xi, Song, Dai, McLoughlin, Liu).
# Two corpora in, the paper's Table 2 out. A stage that is done is skipped; --stage N redoes from N.
set -euo pipefail
cd "$(dirname "$0")"

# Begin configuration section.
stage=                                 # first stage to redo; without it, what is done is skipped
stop_stage=7                           # last stage to run
cmd_backend=                           # local, slurm or sge (default: what cmd.sh says)
nj=$(env -u OMP_NUM_THREADS nproc)     # parallel jobs on the CPU
num_threads=                           # threads of pre-training on the CPU (default: nj)
ngpu=0                                 # GPUs of a node; 0 trains on the CPU
num_nodes=1                            # nodes that pre-training spans, each with ngpu GPUs
jobs_per_gpu=1                         # fine-tuning jobs that share a GPU
corpus=                                # mini, kaldi (what --ser-data means) or one of conf/corpora.conf
ser_data=                              # Kaldi data directory with utt2emo, instead of --corpus
pretrain_data=                         # Kaldi data directory with speakers, instead of a corpus to pre-train on
scope=improvised                       # IEMOCAP: improvised or all
merge_excited=false                    # IEMOCAP: count excited as happy
labels=four                            # EmoDB, RAVDESS, CREMA-D: the paper's four, or all
subsets=train-clean-100                # LibriSpeech: names in one word
protocol=                              # 10fold, 5fold, loso, kfold or auto
num_folds=5                            # of kfold
systems="resnet18_baseline resnet18_pretrain resnet18_pretrain_ad vgg5_baseline vgg5_ad"  # of conf/systems.conf
ablations=                             # of conf/ablations.conf, for stage 8 (default: all)
seeds=0                                # one complete table row is made of each
data_dir=data                          # data directories
exp_dir=exp                            # models and results
fbank_config=conf/fbank.conf           # options of steps/compute_fbank.py
vad_config=conf/vad.conf               # options of steps/compute_vad.py
pretrain_config=                       # options of steps/pretrain.py
finetune_config=                       # options of steps/finetune.py
# End configuration section.
. local/run/functions.sh
. local/run/corpora.sh
. local/run/stages.sh
. local/run/training.sh
read_corpora  # makes the options --iemocap, --voxceleb1 … of conf/corpora.conf

help_message="Usage: ./run.sh [options]
  ./run.sh                                                 synthetic mini corpora, all five systems, on the CPU
  ./run.sh --corpus iemocap --iemocap DIR --voxceleb1 DIR  the paper's corpora
  ./run.sh --corpus cremad --cremad DIR --librispeech DIR  open ones
  ./run.sh --ser-data DIR --pretrain-data DIR              Kaldi data directories of your own
Stages: 0 mini corpora, 1 data directories, 2 fbank and VAD, 3 folds, 4 speaker pre-training, 5 fine-tuning and
scoring of each fold of each system, 6 results, 7 analysis: probes, Figure 1, plots, report.html. A stage that is done
is skipped. Only on request: 8 ablations (--stop-stage 8).
Options:
  --stage N                  redo from stage N (default: continue)
  --stop-stage N             end behind stage N (default: $stop_stage)
  --cmd-backend WORD         where jobs run: local, slurm or sge (default: what cmd.sh says)
  --nj N                     parallel jobs on the CPU (default: the cores of this machine, $nj)
  --num-threads N            threads of pre-training on the CPU (default: --nj)
  --ngpu N                   GPUs: pre-training takes N of a node, fine-tuning has N jobs at a time, each on its
                             own; 0 trains on the CPU (default: $ngpu)
  --num-nodes N              nodes that pre-training spans, each with --ngpu GPUs; Slurm only (default: $num_nodes)
  --jobs-per-gpu N           fine-tuning jobs that share a GPU; local only (default: $jobs_per_gpu)
  --corpus NAME              mini ${emotion_corpora[*]} (default: the one whose folder is given, else mini)
$(corpora_help "${emotion_corpora[@]}")
  --ser-data DIR             Kaldi data directory with utt2emo
To pre-train on:
$(corpora_help "${speaker_corpora[@]}")
  --pretrain-data DIR        Kaldi data directory with speakers
Of corpora:
  --scope WORD               IEMOCAP: improvised or all (default: $scope)
  --merge-excited BOOL       IEMOCAP: excited counts as happy (default: $merge_excited)
  --labels WORD              EmoDB, RAVDESS, CREMA-D: the paper's four, or all that it has (default: $labels)
  --subsets \"NAMES\"          LibriSpeech (default: $subsets)
Of the experiment:
  --protocol WORD            10fold, 5fold, loso, kfold, or auto: loso, with more than 20 speakers kfold
                             (default: 10fold for IEMOCAP, else auto)
  --num-folds N              of kfold (default: $num_folds)
  --systems \"NAMES\"          of conf/systems.conf (default: the five of Table 2)
  --ablations \"NAMES\"        of conf/ablations.conf, for stage 8 (default: all)
  --seeds \"NUMBERS\"          (default: $seeds)
  --data-dir DIR             data directories to make (default: $data_dir)
  --exp-dir DIR              models and results (default: $exp_dir)
  --fbank-config FILE        (default: $fbank_config)
  --vad-config FILE          (default: $vad_config)
  --pretrain-config FILE     (default: conf/pretrain.conf, for mini conf/mini/pretrain.conf)
  --finetune-config FILE     (default: conf/finetune.conf, for mini conf/mini/finetune.conf)
"
. ./path.sh
# Ctrl-C, TERM and a kill end the jobs of this run with it.
[ "${supervised-}" ] || supervised=true exec steps/parallel/kill_with_parent.py ./run.sh "$@"
arguments=("$@")
. steps/parse_options.sh
. ./cmd.sh
[ $# -eq 0 ] || die "unexpected argument '$1'; options are written --name value"
check_options
claim "$exp_dir"
wait_for_data "$data_dir"

if begin 0 "synthetic mini corpora" "$mini_root/.done" mini-1; then
  local/mini/make_mini_corpora.py --nj "$nj" "$mini_root"
  end
fi

if begin 1 "data directory $ser" "$ser/.done.1" "${prepare_ser[*]}"; then
  "${prepare_ser[@]}"
  end
fi
if [ "$pretraining" ] && begin 1 "data directory $pre" "$pre/.done.1" "${prepare_pre[*]}"; then
  "${prepare_pre[@]}"
  end
fi

for data in "$ser" ${pretraining:+"$pre"}; do
  if begin 2 "fbank and VAD of $data" "$data/.done.2" "$(cat "$fbank_config" "$vad_config")"; then
    steps/make_fbank.sh --nj "$nj" --cmd "$train_cmd" --fbank-config "$fbank_config" "$data"
    steps/compute_vad.sh --nj "$nj" --cmd "$train_cmd" --vad-config "$vad_config" "$data"
    steps/fix_data_dir.py "$data"
    steps/validate_data_dir.py --no-text "$data"
    end
  fi
done

if begin 3 "folds of $ser" "$ser/.done.3" "$protocol $num_folds"; then
  local/make_folds.py --protocol "$protocol" --num-folds "$num_folds" "$ser"
  end
fi
if [ "$pretraining" ] && begin 3 "held-out utterances of $pre" "$pre/.done.3" identification; then
  local/make_folds.py --protocol identification "$pre"
  end
fi

end_of_data

for backbone in $pretraining; do
  dir=$exp_dir/pretrain_$backbone
  if begin_training 4 "speaker pre-training of $backbone: $dir, log in $dir.log"; then
    $cuda_cmd "${pretrain_resources[@]}" "$dir.log" \
      "${launch[@]}" steps/pretrain.py --config "$pretrain_config" --backbone "$backbone" --device "$device" \
      --num-threads "$num_threads" --restart "$restart" "$pre" "$dir"
    cat "$dir/RESULT"
  fi
done

if begin_training 5 "fine-tuning and scoring"; then
  finetune "$systems"
fi

if begin_training 6 "results"; then
  local/results/make_results.py --systems "$systems" --seeds "$seeds" "$ser" "$exp_dir"
fi

if begin_training 7 "analysis"; then
  analyse "$systems"
  for script in make_probes make_figure1 make_confusions make_curves; do
    "local/results/$script.py" --systems "$systems" --seeds "$seeds" "$ser" "$exp_dir"
  done
  local/results/make_report.py --systems "$systems" --seeds "$seeds" "$ser" "$exp_dir"
fi

if begin_training 8 "ablations"; then
  finetune "$ablations"
  local/results/make_results.py --systems "$systems $ablations" --seeds "$seeds" "$ser" "$exp_dir"
  local/results/make_ablations.py --systems "$ablations" --seeds "$seeds" "$ser" "$exp_dir"
  local/results/make_report.py --systems "$systems $ablations" --seeds "$seeds" "$ser" "$exp_dir"
fi
[ "$stop_stage" -lt 6 ] || summary
