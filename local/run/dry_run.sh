# shellcheck shell=bash disable=SC2034,SC2154
# What ./run.sh --dry-run says, without doing it; sourced by run.sh, whose variables these are, in place of locking and
# undoing. The stages of run.sh are called as ever: the functions that begin one say here what is to do, and begin none.

export PYTHONDONTWRITEBYTECODE=1
declare -A remade=()  # folders that would be made again
pretrainings_left=0
trainings_left=  # of stage 5, once that is known

# begin N WHAT [MARKER KEY], begin_preparation DATA COMMAND...: say what the stage would do.
begin() {
  local reason
  is_in_run "$1" || return 1
  case $1 in
    4) if [ "$pretrained" ]; then say_extractor "$2"; else say_pretraining "$2"; fi ;;
    5)
      if [ "$2" = "final models" ]; then say_final_models "$2"; else say_trainings "$1" "$2" "$systems"; fi ;;
    8) say_trainings "$1" "$2" "$ablations" ;;
    6) echo "stage 6: $2: to be made again of all that is there$(last_time 6 "$2")" ;;
    7)
      if is_asked_for 7; then reason="since --stage $stage asks for it"; else reason="where something has changed"; fi
      echo "stage 7: $2: to be made again $reason$(last_time 7 "$2")"
      ;;
    *) say_stage "$1" "$2" "$3" "$(stale_reason "$3" "$4")" ;;
  esac
  return 1
}
begin_preparation() {
  local data=$1 reason
  is_in_run 1 || return 1
  if [ -z "${remade[$mini_root]-}" ]; then
    reason=$(local/list_source.py --dry-run true "${@:2}") || exit 1
  else
    reason="its source is made again"
  fi
  say_stage 1 "data directory $data" "$data/.source.json" "$reason"
  return 1
}
release_data_dir() { :; }
record_corpus() { :; }
stop_clock() { :; }
summary() { :; }

# is_asked_for N: --stage makes stage N anew.
is_asked_for() { [ -n "$stage" ] && [ "$1" -ge "$stage" ]; }

# say_stage N WHAT MARKER REASON: whether a stage with a marker is to do, and why.
say_stage() {
  local folder=${3%/*} reason=$4
  [ -z "${remade[$folder]-}" ] || reason="what it is made from is made again"
  ! is_asked_for "$1" || reason="--stage $stage asks for it"
  if [ -z "$reason" ]; then
    echo "stage $1: $2: already done"
    return
  fi
  [[ $3 == *.functionals ]] || remade[$folder]=true
  echo "stage $1: $2: to do, since $reason$(last_time "$1" "$2")"
}

# say_pretraining WHAT
say_pretraining() {
  local name left=() all=()
  while read -r _ _ name; do
    all+=("$exp_dir/$name")
    [ -f "$exp_dir/$name/RESULT" ] && [ -z "${remade[$speaker_data]-}" ] && ! is_asked_for 4 || left+=("$exp_dir/$name")
  done <<< "$models_to_pretrain"
  pretrainings_left=${#left[@]}
  echo "stage 4: $1: ${#left[@]} of $(counted "${#all[@]}" model) to make${left[*]:+: ${left[*]}}$(last_time 4 "$1")"
}

# say_extractor WHAT
say_extractor() {
  local state="to be copied, since --stage $stage asks for it"
  is_asked_for 4 || state=$("${use_pretrained[@]}" state) || exit 1
  [ "$state" = "already there" ] || pretrainings_left=1
  echo "stage 4: $1: $state"
}

# say_trainings N WHAT SYSTEMS: how many trainings are to do, or at most so many where what they learn from is made again.
say_trainings() {
  local folds num_seeds num_systems total left
  num_systems=$(wc -w <<< "$3")
  num_seeds=$(wc -w <<< "$seeds")
  case $protocol in
    10fold | 5fold) folds=${protocol%fold} ;;
    kfold) folds=$num_folds ;;
    *) folds= ;;
  esac
  if [ -z "${remade[$emotion_data]-}" ]; then folds=$(wc -l < "$emotion_data/folds/list"); fi
  if [ -z "$folds" ]; then
    echo "stage $1: $2: $(counted "$num_systems" system) with $(counted "$num_seeds" seed) each, on each fold; how many" \
      "folds there are is known after stage 3$(last_time "$1" "$2")"
    return
  fi
  total=$((num_systems * num_seeds * folds))
  if is_asked_for "$1"; then
    left=$total
  elif [ "${remade[$emotion_data]-}" ] || [ "$pretrainings_left" -gt 0 ]; then
    left="up to $total"
  else
    left=$(local/experiment/plan_finetuning.py --dry-run true --systems "$3" --seeds "$seeds" --pretrain-seeds \
      "$pretrain_seeds" --finetune-config "$finetune_config" "$emotion_data" "$exp_dir" "$exp_dir/tasks") || exit 1
  fi
  [ "$1" != 5 ] || trainings_left=$left
  echo "stage $1: $2: $left of $(counted "$total" training) to do$(last_time "$1" "$2")"
}

# say_final_models WHAT: how many are to do, which their folds say once they are done.
say_final_models() {
  local left="one of each system with a network and seed to do, after their folds"
  if [ "$trainings_left" = 0 ]; then
    left=$(local/experiment/plan_finetuning.py --dry-run true --final true --systems "$systems" --seeds "$seeds" \
      --pretrain-seeds "$pretrain_seeds" --finetune-config "$finetune_config" "$emotion_data" "$exp_dir" \
      "$exp_dir/tasks") || exit 1
    left="$(counted "$left" training) to do"
  fi
  echo "stage 5: $1: $left$(last_time 5 "$1")"
}

# last_time N WHAT: how long the stage took when it was last done in this experiment directory.
last_time() {
  [ -f "$exp_dir/log/times" ] || return 0
  awk -F '\t' -v stage="$1" -v what="$2" '
    $2 == stage && $5 == what { jobs = $3; seconds = $4; found = 1 }
    function words(s) {
      if (s < 60) return s " s"
      return s < 3600 ? int(s / 60) " min " s % 60 " s" : int(s / 3600) " h " int(s % 3600 / 60) " min"
    }
    END { if (found) printf "; last time it took %s%s", words(seconds), (jobs + 0 > 1 ? " for " jobs " of them" : "") }
  ' "$exp_dir/log/times"
}

# describe_run: with what the stages below would run.
describe_run() {
  local data
  echo "Nothing is done or changed. Without --dry-run this would be done:"
  for data in "${data_dirs[@]}"; do
    echo "data:      $data, from ${source_of[$data]}"
  done
  cat <<TXT
protocol:  $protocol
systems:   $systems${ablations:+; ablations $ablations}
seeds:     $seeds
options:   $fbank_config $vad_config $finetune_config${models_to_pretrain:+ $pretrain_config}
where:     $cmd_backend, on $device; fine-tuning ${finetune_resources[*]}${models_to_pretrain:+; pre-training ${pretrain_resources[*]}}
results:   $exp_dir
TXT
}
