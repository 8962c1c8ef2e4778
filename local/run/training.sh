# shellcheck shell=bash disable=SC2034,SC2154
# The jobs of stages 4 to 8, and what is said of those that failed; sourced by run.sh, whose variables these are.

# plan_training: what training jobs ask of the runner, and how pre-training starts. On GPUs a single pre-training takes
# all of them, several take one each, as fine-tuning does.
plan_training() {
  launch=()
  [ "$num_nodes" -eq 1 ] || [ "$cmd_backend" = slurm ] || die "--num-nodes $num_nodes is for --cmd-backend slurm"
  [ "$jobs_per_gpu" -eq 1 ] || [ "$cmd_backend" = local ] || die "--jobs-per-gpu $jobs_per_gpu is for --cmd-backend local"
  if [ "$ngpu" -eq 0 ]; then
    [ "$num_nodes" -eq 1 ] || die "--num-nodes $num_nodes needs --ngpu"
    device=cpu
    num_threads=${num_threads:-$nj}
    pretrain_resources=(--num-threads "$num_threads" --max-jobs-run $((nj > num_threads ? nj / num_threads : 1)))
    finetune_resources=(--max-jobs-run "$nj")
    return
  fi
  require_gpus
  device=cuda
  num_threads=1
  finetune_resources=(--gpu 1 --max-jobs-run "$(max_jobs)")
  [ "$jobs_per_gpu" -eq 1 ] || finetune_resources+=(--jobs-per-gpu "$jobs_per_gpu")
  if [ "$(wc -l <<< "$models_to_pretrain")" -gt 1 ]; then
    pretrain_resources=("${finetune_resources[@]}")
    return
  fi
  pretrain_resources=(--gpu "$ngpu" --num-threads "$ngpu")
  [ "$num_nodes" -eq 1 ] || pretrain_resources+=(--num-nodes "$num_nodes")
  [ $((ngpu * num_nodes)) -eq 1 ] || launch=(steps/launch_distributed.py --nproc-per-node "$ngpu")
}

# max_jobs: how many jobs of fine-tuning and scoring run at a time.
max_jobs() {
  if [ "$device" = cpu ]; then echo "$nj"; else echo $((ngpu * num_nodes * jobs_per_gpu)); fi
}

# require_gpus: this machine has the GPUs that training will take on it; the nodes of a cluster are not seen from here.
require_gpus() {
  local found
  [ "$stop_stage" -ge 4 ] && [ "${cuda_cmd%% *}" = steps/parallel/run.py ] || return 0
  found=$(cd steps/parallel && python -c 'import run; print(len(run.visible_gpus()))')
  [ "$found" -ge "$ngpu" ] || die "--ngpu $ngpu: this machine shows $(counted "$found" GPU) (CUDA_VISIBLE_DEVICES, nvidia-smi);" \
    "leave --ngpu out, or use a machine or a --cmd-backend that has them"
}

# pretrain: make the pre-trained models that are not there, an array of jobs whose commands are in EXP/tasks, and show the
# results of all.
pretrain() {
  local backbone seed name left dirs=()
  left=$(local/experiment/plan_pretraining.py --pretrain-config "$pretrain_config" "$speaker_data" "$exp_dir" \
    <<< "$models_to_pretrain")
  clock_jobs=0
  mkdir -p "$exp_dir/tasks"
  while read -r backbone seed name; do
    clock_jobs=$((clock_jobs + 1))
    printf '%q ' exec "${launch[@]}" steps/pretrain.py --config "$pretrain_config" --backbone "$backbone" \
      --seed "$seed" --device "$device" --num-threads "$num_threads" "$speaker_data" "$exp_dir/$name" \
      > "$exp_dir/tasks/pretrain.$clock_jobs.sh"
  done < <([ -z "$left" ] || echo "$left")
  while read -r _ _ name; do dirs+=("$exp_dir/$name"); done <<< "$models_to_pretrain"
  log "pre-trained models: ${dirs[*]}; $clock_jobs to make; logs in $exp_dir/log/pretrain.*.log"
  [ "$clock_jobs" -eq 0 ] || $cuda_cmd "${pretrain_resources[@]}" JOB=1:"$clock_jobs" \
    "$exp_dir/log/pretrain.JOB.log" bash -x "$exp_dir/tasks/pretrain.JOB.sh" || { memory_by_slot; return 1; }
  cat "${dirs[@]/%//RESULT}"
}

# memory_by_slot: say how Kaldi's queue.pl counts memory, when jobs of several slots went to it.
memory_by_slot() {
  local memory
  [[ ${cuda_cmd%% *} == *queue.pl && $cuda_cmd =~ --mem[[:blank:]]([0-9]+) ]] && [ "$num_threads" -gt 1 ] || return 0
  memory=${BASH_REMATCH[1]}
  echo "run.sh: queue.pl asks for --mem per slot, here $num_threads times ${memory}G, $((num_threads * memory))G in all:" \
    "where no host has that, give less --mem in cmd.sh or fewer --num-threads" >&2
}

# finetune SYSTEMS [--final true]: train and score what is not there of each fold of each system and seed, or train their
# final models.
finetune() {
  local num_tasks failed=false
  num_tasks=$(local/experiment/plan_finetuning.py --systems "$1" --seeds "$seeds" --pretrain-seeds "$pretrain_seeds" \
    --finetune-config "$finetune_config" --device "$device" "${@:2}" "$emotion_data" "$exp_dir" "$exp_dir/tasks")
  clock_jobs=$num_tasks
  log "$(counted "$num_tasks" training) to do, what is done is kept; logs in $exp_dir/log/{finetune,train_classical}.*.log"
  # shellcheck disable=SC2086 # a command and its options
  train_in_shares train_classical "$nj" $train_cmd --max-jobs-run "$nj" || failed=true
  num_tasks=$(count_tasks finetune)
  if [ "$num_tasks" -gt 0 ] && [ "$device" = cpu ] && [ "$cmd_backend" != local ]; then
    $cuda_cmd "${finetune_resources[@]}" JOB=1:"$num_tasks" "$exp_dir/log/finetune.JOB.log" \
      steps/finetune.py --config "$exp_dir/tasks/finetune.JOB.conf" || failed=true
  else
    # shellcheck disable=SC2086 # a command and its options
    train_in_shares finetune "$(max_jobs)" $cuda_cmd "${finetune_resources[@]}" || failed=true
  fi
  ! $failed || report_failed_tasks
}

# count_tasks SCRIPT: how many trainings by a script of steps/ are planned.
count_tasks() { mkdir -p "$exp_dir/tasks" && find "$exp_dir/tasks" -name "$1.*.conf" | wc -l; }

# train_in_shares SCRIPT SHARES RUNNER...: do the trainings by a script of steps/ in so many processes, where one training
# takes about as long as starting a process.
train_in_shares() {
  local shares num_tasks
  num_tasks=$(count_tasks "$1")
  [ "$num_tasks" -gt 0 ] || return 0
  shares=$(($2 < num_tasks ? $2 : num_tasks))
  rm -f "$exp_dir/log/$1".*.log
  "${@:3}" JOB=1:"$shares" "$exp_dir/log/$1_share.JOB.log" \
    steps/finetune_tasks.py --script "$1" --job JOB --num-jobs "$shares" "$exp_dir/tasks" "$exp_dir/log"
}

failed_parts=
# part COMMAND...: do a part of the analysis; when it fails, even by a crash, the others are done all the same.
part() { "$@" || failed_parts+=", $1 (status $?)"; }

part_of_process=()
# begin_part COMMAND...: the same beside the parts that run already, --nj at a time; await_parts waits for them.
begin_part() {
  while [ "$(jobs -rp | wc -l)" -ge "$nj" ]; do
    wait -n || true  # await_parts asks how it ended
  done
  "$@" &
  part_of_process[$!]=$1
}
await_parts() {
  local process
  for process in "${!part_of_process[@]}"; do
    wait "$process" || failed_parts+=", ${part_of_process[$process]} (status $?)"
  done
  part_of_process=()
}

drawn_from=  # what the tables and pictures are made of that are being made
# begin_pictures: whether the tables and pictures in EXP/analysis must be made: there are none, or they, the models, the
# scripts, --systems or --seeds are not as they were when all were made. end_pictures: unless a part failed, they are.
begin_pictures() {
  local drawn=$exp_dir/analysis/.drawn system seed models=()
  for system in $systems; do
    for seed in $seeds; do
      [ $((10#$seed)) -ne 0 ] || seed=
      models+=("$exp_dir/$system${seed:+_seed$((10#$seed))}"/*/)
    done
  done
  drawn_from="$systems, seeds $seeds, $(state_of "${models[@]}" local steps conf/systems.conf conf/ablations.conf)"
  if [ -f "$drawn" ] && [ "$(cat "$drawn")" = "$(what_is_drawn)" ]; then
    log "the tables and pictures in $exp_dir/analysis are of these models and stay"
    drawn_from=
    clock_jobs=0
    return 1
  fi
  rm -f "$drawn" || true  # else the parts say what is wrong
}
end_pictures() {
  [ -z "$drawn_from" ] || [ -n "$failed_parts" ] || what_is_drawn > "$exp_dir/analysis/.drawn"
}
what_is_drawn() {
  echo "$drawn_from"
  state_of "$exp_dir/analysis"
}

# state_of PLACES...: a checksum of the names, sizes and times of the files there, but for the masks of attentions.
state_of() {
  find -L "$@" -type f ! -name 'masks.*' ! -name '.*' ! -name '*.pyc' -printf '%p %s %T@\n' | sort | cksum
}

# require_all_parts: end the run unless all parts of the analysis were done.
require_all_parts() {
  [ -z "$failed_parts" ] || die "failed: ${failed_parts#, }, see above; all else of the analysis is made"
}

# analyse SYSTEMS: probe what is not yet probed of their models, and begin to draw the attention of one of each that is
# not yet drawn.
analyse() {
  local num_tasks model models
  num_tasks=$(local/experiment/plan_analysis.py --systems "$1" --seeds "$seeds" --device "$device" \
    --max-jobs "$(max_jobs)" "$emotion_data" "$exp_dir" "$exp_dir/tasks")
  log "$(counted "$num_tasks" job) with models to probe, what is done is kept; logs in $exp_dir/log/analyse.*.log"
  # shellcheck disable=SC2086 # a command and its options
  [ "$num_tasks" -eq 0 ] || part $cuda_cmd "${finetune_resources[@]}" JOB=1:"$num_tasks" \
    "$exp_dir/log/analyse.JOB.log" steps/analyse.py --config "$exp_dir/tasks/analyse.JOB.conf"
  models=$(local/experiment/list_systems.py --systems "$1" --seeds "$seeds" attention "$emotion_data" "$exp_dir")
  [ -n "$models" ] || return 0
  while read -r model; do
    begin_part steps/plot_masks.py --device cpu --dir "$model"
  done <<< "$models"
}

# failure_reason LOG: the last words of a job, and its code, from the closing lines of any runner.
failure_reason() {
  [ -f "$1" ] || { echo "it never began"; return; }
  local code
  code=$(sed -nE 's/^# Ended \((code [^)]*)\) at .*/ (\1)/p; s/^# Finished at .* with status ([0-9]+)$/ (code \1)/p' "$1" |
    tail -n 1)
  echo "$(grep -Ev '^(# (Accounting:|Finished at|Ended \().*|#? *)$' "$1" | tail -n 1)$code"
}

# report_failed_tasks: say which trainings failed, why, and how to do them again; ten of them here, all in a file.
report_failed_tasks() {
  local script n task dir log failed=$exp_dir/log/failed count
  for script in train_classical finetune; do
    for n in $(seq "$(count_tasks "$script")"); do
      task=$exp_dir/tasks/$script.$n.conf
      dir=$(sed -n 's/^--dir=//p' "$task")
      log=$exp_dir/log/$script.$n.log
      [ -f "$dir/RESULT" ] || [ -f "$dir/TRAINED" ] ||
        echo "run.sh: failed: $dir: $(failure_reason "$log");$([ ! -f "$log" ] || echo " log $log;")" \
          "alone, once that is corrected: steps/$script.py --config $(printf %q "$task")"
    done
  done > "$failed"
  count=$(wc -l < "$failed")
  head -n 10 "$failed" >&2
  [ "$count" -le 10 ] || echo "run.sh: and $((count - 10)) more failed, all are in $failed" >&2
  die "not all trainings are done; do just what is missing with: ./run.sh$(without_stage "${arguments[@]}")"
}

# without_stage ARGUMENTS...: the options of this run, quoted, but for --stage, which would redo what is done.
without_stage() {
  while [ $# -gt 0 ]; do
    [ "$1" = --stage ] || as_typed "${@:1:2}"
    shift 2
  done
}
