# shellcheck shell=bash disable=SC2034,SC2154
# Messages of run.sh and the check of its options; sourced by it. The variables are run.sh's.

# log WORDS..., die WORDS...: a message, and one that ends the run.
log() { echo "$(date '+%Y-%m-%d %H:%M:%S') (run.sh) $*"; }
die() { echo "run.sh: $*" >&2; exit 1; }

# as_typed WORDS...: the words as one would type them, a blank before each: lists in double quotes.
as_typed() {
  local word
  for word; do
    if [[ $word == *\ * && $word =~ ^[[:alnum:]\ _./,=+-]*$ ]]; then printf ' "%s"' "$word"; else printf ' %q' "$word"; fi
  done
}

# log_and_run COMMAND...
log_and_run() {
  local typed
  typed=$(as_typed "$@")
  log "${typed# }"
  "$@"
}

# require_number NAME VALUE: the option is a number.
require_number() { [[ $2 =~ ^[0-9]+$ ]] || die "--$1 '$2' is not a number"; }

# counted N NOUN: 1 training, 2 trainings.
counted() { if [ "$1" -eq 1 ]; then echo "1 $2"; else echo "$1 $2s"; fi; }

# require_directory NAME VALUE: the option names a folder that is there.
require_directory() {
  [ -n "$2" ] || die "--corpus $corpus needs --$1 DIR (see ./run.sh --help)"
  [ -d "$2" ] || die "--$1 $2: no such directory"
}

# require_writable DIR: the folder can be written to; makes it when it is missing.
require_writable() {
  mkdir -p "$1" && [ -w "$1" ] || die "$1: cannot be written to; give another --exp-dir or --data-dir"
}

# name_flags WORDS...: the words of this call as the array `arguments`; a lone --dry-run is --dry-run true.
name_flags() {
  arguments=()
  while [ $# -gt 0 ]; do
    arguments+=("$1")
    [ "$1" != --dry-run ] || [[ ${2-} =~ ^(true|false)$ ]] || arguments+=(true)
    shift
  done
}

# check_numbers: the options that are numbers.
check_numbers() {
  local name
  for name in stage stop_stage nj num_threads ngpu num_nodes jobs_per_gpu num_folds; do
    [[ $name =~ ^(stage|num_threads)$ ]] && [ -z "${!name}" ] || require_number "${name//_/-}" "${!name}"
  done
  for name in nj num_nodes jobs_per_gpu; do
    [ "${!name}" -ge 1 ] || die "--${name//_/-} must be 1 or more"
  done
}

# check_options: everything that can be wrong on the command line, before any work; sets what follows from it.
check_options() {
  local name file conf
  # Numbers and words
  check_numbers
  [[ $protocol =~ ^(|10fold|5fold|loso|kfold|auto)$ ]] ||
    die "--protocol $protocol: expected 10fold, 5fold, loso, kfold or auto"
  for name in stage stop_stage; do
    [ -z "${!name}" ] || [ "${!name}" -le 8 ] ||
      die "--${name//_/-} ${!name}: the stages are 0 to 8 (see ./run.sh --help)"
  done
  [ -z "$stage" ] || [ "$stage" -le "$stop_stage" ] ||
    die "--stage $stage comes after --stop-stage $stop_stage, so there is nothing to do"
  for name in final dry_run; do  # which may be of --config, where any word can be written
    [[ ${!name} =~ ^(true|false)$ ]] || die "--${name//_/-} ${!name}: expected true or false"
  done
  [[ $duplicates =~ ^(drop|keep)$ ]] || die "--duplicates $duplicates: expected drop or keep"

  # Corpora and systems
  infer_corpus
  check_features
  set_emotion_data
  if [ -z "$systems" ] && [ "$feats_type" != fbank ]; then
    systems="conv1d_baseline conv1d_pretrain conv1d_pretrain_ad conv1d_ad majority"
  elif [ -z "$systems" ]; then
    systems="resnet18_baseline resnet18_pretrain resnet18_pretrain_ad vgg5_baseline vgg5_ad"
    [ "$corpus" = mini ] ||
      systems+=" resnet18_strong_baseline resnet18_strong resnet18_strong_ad vgg5_strong vgg5_strong_ad"
    systems+=" svm_functionals majority"
  fi
  if [ "$stop_stage" -ge 8 ]; then
    ablations=$(local/experiment/list_systems.py --systems "$systems" --ablations "$ablations" ablations)
  else
    [ -z "$ablations" ] || die "--ablations are stage 8's; add --stop-stage 8"
  fi
  models_to_pretrain=$(local/experiment/list_systems.py --systems "$systems" --seeds "$seeds" \
    --pretrain-seeds "$pretrain_seeds" pretraining)
  if [ -z "$models_to_pretrain" ]; then
    pretrained=
    [ -z "$pretrain_seeds" ] || die "--pretrain-seeds $pretrain_seeds: none of --systems starts from a pre-training"
  elif [ "$corpus" = mini ] || [[ ! $pretrain_corpus =~ ^(|pretrained)$ ]]; then
    set_speaker_data
  else
    set_extractor
  fi
  with_functionals=$(local/experiment/list_systems.py --systems "$systems" functionals)
  [ -z "$with_functionals" ] || [ "$feats_type" = fbank ] ||
    die "--feats-type $feats_type: $with_functionals learns from the frames of filterbanks; name others with --systems"

  # Configuration files
  conf=conf
  if [ "$corpus" = mini ]; then
    conf=conf/mini
    # More would wait for each other at so small batches, and change the last bits.
    num_threads=${num_threads:-1}
  fi
  pretrain_config=${pretrain_config:-$conf/pretrain.conf}
  finetune_config=${finetune_config:-$conf/finetune.conf}
  for file in "$fbank_config" "$vad_config" "$pretrain_config" "$finetune_config"; do
    [ -f "$file" ] || die "$file: no such configuration file"
  done
  for name in data_dir exp_dir finetune_config; do
    [[ ${!name} != *[[:blank:]]#* ]] ||
      die "--${name//_/-} ${!name}: a comment of a configuration file begins like ' #'; take another name"
    [[ ! ${!name} =~ (^|[^[:alnum:]_])JOB($|[^[:alnum:]_]) ]] ||
      die "--${name//_/-} ${!name}: JOB stands for the number of a job; take another name"
  done

  # Machines
  plan_training
}

# audio_summary: how many utterances sound wrong or are copies of others, and where they are named.
audio_summary() {
  local data file
  for data in "$emotion_data" ${models_to_pretrain:+"$speaker_data"}; do
    file=$data/utt2audio_problem
    [ ! -s "$file" ] || echo "Doubtful audio:    silent, clipped or constant: $(wc -l < "$file"), named in $(printf %q "$file")"
    file=$data/duplicates
    [ ! -s "$file" ] || echo "Copies:            of other utterances (--duplicates $duplicates):" \
      "$(($(wc -w < "$file") - $(wc -l < "$file"))), named in $(printf %q "$file")"
  done
}

# summary: the answer, the table, where everything is, as a shell takes it, and what to do next.
summary() {
  local exp data
  printf -v exp %q "$exp_dir"
  printf -v data %q "$emotion_data"
  echo
  awk -v RS= 'NR == 2' "$exp_dir/CLAIMS"  # the paragraph after the heading
  echo
  cat "$exp_dir/RESULTS"
  echo
  sed '1,/^$/d' "$exp_dir/CLASSES"
  cat <<TXT

Comparisons:       $exp/CLAIMS
Table:             $exp/RESULTS
Result lines:      grep WF1 $exp/*/*/RESULT
Per utterance:     $exp/<system>/<fold>/score/per_utt (utt ref hyp p1 …, classes in score/classes)
Training curves:   $exp/<system>/<fold>/log/epochs.tsv
Data, logs:        $data, $data/log/, $exp/log/
TXT
  [ "$final" = false ] || echo "Models to use:     $exp/<system>/final (steps/predict.py, steps/export.py; what to expect: README.md)"
  audio_summary
  if [ "$stop_stage" -ge 7 ]; then
    cat <<TXT
What AD does:      $exp/analysis: $(cd "$exp_dir/analysis" && shopt -s nullglob && echo PROBES CALIBRATION* *.png)
TensorBoard:       .venv/bin/tensorboard --logdir $exp/analysis/tensorboard
Report:            $exp/report.html (all of it on one page)
TXT
  fi
  if [ "$stop_stage" -ge 8 ]; then
    echo "Ablations:         $exp/ABLATIONS"
  fi
  if [ "$corpus" = mini ]; then
    cat <<TXT
Next:
  ./run.sh --corpus iemocap --iemocap DIR --voxceleb1 DIR --exp-dir exp/iemocap
  ./run.sh --corpus cremad --cremad DIR --librispeech DIR --exp-dir exp/cremad   (corpora that are free to have)
  ./run.sh --ser-data DIR --exp-dir exp/mine   (a Kaldi data directory of your own)
TXT
  elif [ "$(wc -w <<< "$seeds")" -eq 1 ]; then
    echo "Next, the spread over seeds; what is done is kept: ./run.sh$(without_stage "${arguments[@]}") --seeds \"0 1 2\""
    [ -z "$models_to_pretrain" ] || [ "$pretrain_seeds" ] ||
      echo "Each seed has a pre-training of its own; --pretrain-seeds 0 has them all start from that of seed 0."
  fi
}
