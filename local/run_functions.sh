# shellcheck shell=bash disable=SC2034,SC2154
# Guards, checks and messages of run.sh; sourced by it. The variables are run.sh's.

log() { echo "$(date '+%Y-%m-%d %H:%M:%S') (run.sh) $*"; }
die() { echo "run.sh: $*" >&2; exit 1; }

# is_number NAME VALUE
is_number() { [[ $2 =~ ^[0-9]+$ ]] || die "--$1 '$2' is not a number"; }

# is_dir NAME VALUE: the option names a folder that is there.
is_dir() {
  [ -n "$2" ] || die "--corpus $corpus needs --$1 DIR (see ./run.sh --help)"
  [ -d "$2" ] || die "--$1 $2: no such directory"
}

# check_options: everything that can be wrong on the command line, before any work; sets what follows from it.
check_options() {
  local name file
  for name in stage stop_stage nj num_threads ngpu num_nodes jobs_per_gpu num_folds; do
    [[ $name =~ ^(stage|num_threads)$ ]] && [ -z "${!name}" ] || is_number "${name//_/-}" "${!name}"
  done
  for name in nj num_nodes jobs_per_gpu; do
    [ "${!name}" -ge 1 ] || die "--${name//_/-} must be 1 or more"
  done
  [[ $protocol =~ ^(|10fold|5fold|loso|kfold|auto)$ ]] ||
    die "--protocol $protocol: expected 10fold, 5fold, loso, kfold or auto"
  infer_corpus
  set_corpus
  if [ "$stop_stage" -ge 8 ]; then
    ablations=$(local/choose_ablations.py --systems "$systems" --ablations "$ablations")
  else
    [ -z "$ablations" ] || die "--ablations are stage 8's; add --stop-stage 8"
  fi
  pretraining=$(local/systems_to_pretrain.py "$systems")
  [ -z "$pretraining" ] || set_pretraining
  local conf=conf
  [ "$corpus" != mini ] || conf=conf/mini
  pretrain_config=${pretrain_config:-$conf/pretrain.conf}
  finetune_config=${finetune_config:-$conf/finetune.conf}
  for file in "$fbank_config" "$vad_config" "$pretrain_config" "$finetune_config"; do
    [ -f "$file" ] || die "$file: no such configuration file"
  done
  for name in data_dir exp_dir finetune_config; do
    [[ ${!name} != *[[:blank:]]#* ]] ||
      die "--${name//_/-} ${!name}: a comment of a configuration file begins like ' #'; take another name"
  done
  plan_training
}

# plan_training: what training jobs ask of the runner, and how pre-training starts.
plan_training() {
  launch=()
  if [ "$ngpu" -eq 0 ]; then
    [ "$num_nodes" -eq 1 ] || die "--num-nodes $num_nodes needs --ngpu"
    device=cpu
    num_threads=${num_threads:-$nj}
    pretrain_resources=(--num-threads "$num_threads")
    finetune_resources=(--max-jobs-run "$nj")
    return
  fi
  device=cuda
  num_threads=1
  pretrain_resources=(--gpu "$ngpu" --num-threads "$ngpu")
  finetune_resources=(--gpu 1 --max-jobs-run $((ngpu * num_nodes * jobs_per_gpu)))
  [ "$num_nodes" -eq 1 ] || pretrain_resources+=(--num-nodes "$num_nodes")
  [ "$jobs_per_gpu" -eq 1 ] || finetune_resources+=(--jobs-per-gpu "$jobs_per_gpu")
  [ $((ngpu * num_nodes)) -eq 1 ] || launch=(steps/launch.py --nproc-per-node "$ngpu")
}

# read_corpora: conf/corpora.conf into emotion_corpora, speaker_corpora and, by name, corpus_protocol, corpus_options,
# corpus_folder. Makes a variable of each name, which is what parse_options.sh makes an option of.
read_corpora() {
  emotion_corpora=() speaker_corpora=()
  declare -gA corpus_protocol=() corpus_options=() corpus_folder=()
  local key words_protocol words_options words_folder
  while read -r key words_protocol words_options words_folder; do
    [[ $key =~ ^[a-z] ]] || continue
    declare -g "$key="
    corpus_protocol[$key]=$words_protocol
    corpus_options[$key]=$(tr , ' ' <<< "${words_options#-}")
    corpus_folder[$key]=$words_folder
    if [ "$words_protocol" = identification ]; then speaker_corpora+=("$key"); else emotion_corpora+=("$key"); fi
  done < conf/corpora.conf
}

# corpora_help NAMES...: their lines of --help.
corpora_help() {
  local key
  for key in "$@"; do
    printf '  %-26s %s\n' "--$key DIR" "${corpus_folder[$key]}"
  done
}

# given NAMES...: that one of these options which has a value, if any; two of them are an error.
given() {
  local key found=()
  for key in "$@"; do
    [ -z "${!key}" ] || found+=("$key")
  done
  [ ${#found[@]} -le 1 ] || die "$(as_options "${found[@]}") exclude each other"
  echo "${found[*]}"
}

# as_options NAMES...: --name, --name and --name.
as_options() {
  local text
  text=$(printf -- '--%s, ' "${@//_/-}")
  text=${text%, }
  [ $# -eq 1 ] || text="${text%, *} and ${text##*, }"
  echo "$text"
}

# infer_corpus: the corpus whose folder is given, and the one to pre-train on; a folder or an option that the run would
# not use is an error.
infer_corpus() {
  local folder option taken all=${corpus_options[*]}
  folder=$(given "${emotion_corpora[@]}" ser_data)
  [ -z "$folder" ] || [ -z "$corpus" ] || [ "$corpus" = "${folder/ser_data/kaldi}" ] ||
    die "--corpus $corpus does not use the folder given for $(as_options "$folder"); leave one of them out"
  corpus=${corpus:-${folder/ser_data/kaldi}}
  corpus=${corpus:-mini}
  [[ " mini kaldi ${emotion_corpora[*]} " == *" $corpus "* ]] ||
    die "--corpus $corpus: expected one of mini ${emotion_corpora[*]}"
  pretrain_corpus=$(given "${speaker_corpora[@]}" pretrain_data)
  [ "$corpus" != mini ] || [ -z "$pretrain_corpus" ] ||
    die "the default makes its own corpora; name an emotion corpus, too (see ./run.sh --help)"
  taken=" ${corpus_options[${corpus/mini/iemocap}]-} ${pretrain_corpus:+${corpus_options[$pretrain_corpus]-}} "
  for option in $all; do
    [[ $taken == *" $option "* || " ${arguments[*]} " != *" --$option "* ]] ||
      die "--$option is not for --corpus $corpus; conf/corpora.conf says which corpora take it"
  done
}

# preparation NAME DIR DATA: the array `prepare` becomes the command that makes DATA of a corpus.
preparation() {
  local option key
  prepare=("local/$1_data_prep.py")
  for option in ${corpus_options[$1]}; do
    key=${option//-/_}
    prepare+=("--$option" "${!key}")
  done
  prepare+=("$2" "$3")
}

# set_corpus: the data directory of the emotion corpus, how stage 1 prepares it, and its protocol.
set_corpus() {
  local prepare
  mini_root=$data_dir/local/mini
  case $corpus in
    mini)
      ser=$data_dir/mini_iemocap
      protocol=${protocol:-${corpus_protocol[iemocap]}}
      preparation iemocap "$mini_root/IEMOCAP_full_release" "$ser" ;;
    kaldi)
      is_dir ser-data "$ser_data"
      ser=$data_dir/$(basename "$(realpath "$ser_data")")
      protocol=${protocol:-auto}
      prepare=(local/kaldi_data_prep.py --emotion true "$ser_data" "$ser") ;;
    *)
      is_dir "$corpus" "${!corpus}"
      ser=$data_dir/$corpus
      protocol=${protocol:-${corpus_protocol[$corpus]}}
      preparation "$corpus" "${!corpus}" "$ser" ;;
  esac
  prepare_ser=("${prepare[@]}")
}

# set_pretraining: the same for the speaker corpus, when a system needs one.
set_pretraining() {
  local prepare
  if [ "$corpus" = mini ]; then
    pre=$data_dir/mini_voxceleb1
    preparation voxceleb1 "$mini_root/VoxCeleb1" "$pre"
  elif [ -z "$pretrain_corpus" ]; then
    die "pre-trained systems need one of$(printf -- ' --%s DIR,' "${speaker_corpora[@]}") --pretrain-data DIR;" \
      "or name others with --systems"
  elif [ "$pretrain_corpus" = pretrain_data ]; then
    is_dir pretrain-data "$pretrain_data"
    pre=$data_dir/$(basename "$(realpath "$pretrain_data")")
    [ "$pre" != "$ser" ] || pre=${pre}_pretrain
    prepare=(local/kaldi_data_prep.py --emotion false "$pretrain_data" "$pre")
  else
    is_dir "$pretrain_corpus" "${!pretrain_corpus}"
    pre=$data_dir/$pretrain_corpus
    preparation "$pretrain_corpus" "${!pretrain_corpus}" "$pre"
  fi
  prepare_pre=("${prepare[@]}")
}

# require_writable DIR: make a folder when it is missing.
require_writable() {
  mkdir -p "$1" && [ -w "$1" ] || die "$1: cannot be written to; give another --exp-dir or --data-dir"
}

# wait_for_data DIR: while another run.sh makes data directories there, wait; end_of_data lets the next one go on.
wait_for_data() {
  [ -e "$1" ] && [ ! -w "$1" ] && return  # whatever is missing there will say so
  mkdir -p "$1"
  exec 8> "$1/.lock"
  flock -n 8 || { log "another run.sh makes data directories in $1, waiting for it"; flock 8; }
}
end_of_data() { exec 8>&-; }

# claim DIR: refuse a second run into the same directory, and one on another corpus than its results are from. The
# kernel drops the lock when this run and its jobs have ended, however that came about; those of a killed run take
# some seconds.
claim() {
  require_writable "$1"
  command -v flock > /dev/null || die "no flock in PATH; install util-linux"
  exec 9> "$1/.lock"
  flock -w 10 9 || die "another run.sh is working in $1; wait for it or give another --exp-dir"
  local of="$ser $protocol"
  [ ! -s "$1/.corpus" ] || [ "$(cat "$1/.corpus")" = "$of" ] ||
    die "$1 holds results of $(cat "$1/.corpus"), these would be of $of; give another --exp-dir or remove $1"
  echo "$of" > "$1/.corpus"
  echo "$(date --iso-8601=seconds)	./run.sh$(printf ' %q' "${arguments[@]}")" >> "$1/commands"
}

# wanted N WHAT: whether stage N is inside --stage and --stop-stage.
wanted() {
  if [ "$1" -gt "$stop_stage" ]; then return 1; fi
  if [ "$1" -eq 0 ] && [ "$corpus" != mini ]; then return 1; fi
  if [ -n "$stage" ] && [ "$1" -lt "$stage" ]; then
    log "stage $1: $2: left out, because of --stage $stage"
    return 1
  fi
}

# begin N WHAT MARKER KEY: true when the stage must run; MARKER keeps the KEY that it was done with.
begin() {
  wanted "$1" "$2" || return 1
  if [ -z "$stage" ] && [ -f "$3" ] && [ "$(cat "$3")" = "$4" ]; then
    log "stage $1: $2: already done"
    return 1
  fi
  log "stage $1: $2"
  marker=$3 marker_key=$4
  local later
  for later in "${marker%.*}".[1-3]; do  # what was made from the output of before
    [[ $later < $marker ]] || rm -f "$later"
  done
  rm -f "$marker"
}

# end: the stage that begin() began is done.
end() {
  mkdir -p "$(dirname "$marker")"
  printf '%s\n' "$marker_key" > "$marker"
}

# begin_training N WHAT: for stages that know by themselves what is done.
begin_training() {
  wanted "$1" "$2" || return 1
  restart=false
  if [ -n "$stage" ]; then restart=true; fi
  log "stage $1: $2"
}

# finetune SYSTEMS: train and score what is not there of each fold of each system and seed.
finetune() {
  local num_tasks
  num_tasks=$(local/plan_finetuning.py --systems "$1" --seeds "$seeds" --finetune-config "$finetune_config" \
    --device "$device" --restart "$restart" "$ser" "$exp_dir" "$exp_dir/tasks")
  log "$num_tasks trainings to do, what is done is kept; logs in $exp_dir/log/finetune.*.log"
  [ "$num_tasks" -gt 0 ] || return 0
  if [ "$device" = cuda ]; then  # where a training takes about as long as starting a process
    local shares=$((ngpu * num_nodes * jobs_per_gpu))
    shares=$((shares < num_tasks ? shares : num_tasks))
    rm -f "$exp_dir"/log/finetune.*.log
    $cuda_cmd "${finetune_resources[@]}" JOB=1:"$shares" "$exp_dir/log/finetune_share.JOB.log" \
      steps/finetune_tasks.py --job JOB --num-jobs "$shares" "$exp_dir/tasks" "$exp_dir/log" ||
      report_failed_tasks "$num_tasks"
  else
    $cuda_cmd "${finetune_resources[@]}" JOB=1:"$num_tasks" "$exp_dir/log/finetune.JOB.log" \
      steps/finetune.py --config "$exp_dir/tasks/finetune.JOB.conf" || report_failed_tasks "$num_tasks"
  fi
}

# analyse SYSTEMS: probe what is not yet probed of their models, and draw the attention of one of each.
analyse() {
  local num_tasks model models
  num_tasks=$(local/plan_analysis.py --systems "$1" --seeds "$seeds" --device "$device" --restart "$restart" \
    "$ser" "$exp_dir" "$exp_dir/tasks")
  log "$num_tasks systems and seeds to probe, what is done is kept; logs in $exp_dir/log/analyse.*.log"
  [ "$num_tasks" -eq 0 ] || $cuda_cmd "${finetune_resources[@]}" JOB=1:"$num_tasks" "$exp_dir/log/analyse.JOB.log" \
    steps/analyse.py --config "$exp_dir/tasks/analyse.JOB.conf"
  models=$(local/list_attention_models.py --systems "$1" --seeds "$seeds" "$ser" "$exp_dir")
  [ -n "$models" ] || return 0
  while read -r model; do
    steps/plot_masks.py --device cpu --dir "$model"
  done <<< "$models"
}

# why LOG: the last words of a job, and its code, from the closing lines of any runner.
why() {
  [ -f "$1" ] || { echo "it has no log"; return; }
  local code
  code=$(sed -nE 's/^# Ended \((code [^)]*)\) at .*/ (\1)/p; s/^# Finished at .* with status ([0-9]+)$/ (code \1)/p' "$1" |
    tail -n 1)
  echo "$(grep -Ev '^(# (Accounting:|Finished at|Ended \().*|#? *)$' "$1" | tail -n 1)$code"
}

# report_failed_tasks N: say which trainings failed, why, and how to do them again.
report_failed_tasks() {
  local n dir log
  for n in $(seq "$1"); do
    dir=$(sed -n 's/^--dir=//p' "$exp_dir/tasks/finetune.$n.conf")
    log=$exp_dir/log/finetune.$n.log
    [ -f "$dir/RESULT" ] || echo "run.sh: failed: $dir: $(why "$log"); log $log; alone, once mended:" \
      "steps/finetune.py --config $(printf %q "$exp_dir/tasks/finetune.$n.conf")" >&2
  done
  die "not all trainings are done; do just what is missing with: ./run.sh$(without_stage "${arguments[@]}")"
}

# without_stage ARGUMENTS...: the options of this run, fit to be typed, but for --stage, which would redo what is done.
without_stage() {
  while [ $# -gt 0 ]; do
    [ "$1" = --stage ] || printf ' %q' "${@:1:2}"
    shift 2
  done
}

summary() {
  cat "$exp_dir/RESULTS"
  cat <<TXT

Table:             $exp_dir/RESULTS
Result lines:      grep WF1 $exp_dir/*/*/RESULT
Per utterance:     $exp_dir/<system>/<fold>/score/per_utt (utt ref hyp p1 …, classes in score/classes)
Training curves:   $exp_dir/<system>/<fold>/log/epochs.tsv
Logs:              $exp_dir/log/, $exp_dir/pretrain_*.log, $ser/log/
TXT
  if [ "$stop_stage" -ge 7 ]; then
    cat <<TXT
What AD does:      $exp_dir/analysis/PROBES, figure1.png, confusions.png, speakers.png, curves.png
TensorBoard:       tensorboard --logdir $exp_dir/analysis/tensorboard
Report:            $exp_dir/report.html (all of it on one page)
TXT
  fi
  if [ "$stop_stage" -ge 8 ]; then
    echo "Ablations:         $exp_dir/ABLATIONS"
  fi
  if [ "$corpus" = mini ]; then
    cat <<TXT
These corpora are synthetic: the table shows that the recipe works, not what the systems are worth. Next:
  ./run.sh --corpus iemocap --iemocap DIR --voxceleb1 DIR --exp-dir exp/iemocap
  ./run.sh --corpus cremad --cremad DIR --librispeech DIR --exp-dir exp/cremad   (corpora that are free to have)
  ./run.sh --ser-data DIR --pretrain-data DIR --exp-dir exp/mine   (Kaldi data directories of your own)
TXT
  else
    echo "Next: the spread over seeds, with --seeds \"0 1 2\" behind the same options; what is done is kept."
  fi
}
