# shellcheck shell=bash disable=SC2034,SC2154
# What --cross does, in place of the stages: models of finished experiments on each other's data; sourced by run.sh, whose
# variables these are. The scores are an experiment directory of their own, EXP/cross, so that a run waits for no other.

cross_options="cross systems seeds exp-dir data-dir cmd-backend nj ngpu num-nodes jobs-per-gpu"

# score_across: plan, score and tabulate all pairs of --cross, and end the run. What is scored is kept.
score_across() {
  local option plan planned num_tasks data
  for option in "${arguments[@]}"; do
    [[ $option != --* || " $cross_options config " == *" ${option#--} "* ]] ||
      die "$option is not for --cross, which takes --${cross_options// / --}"
  done
  check_numbers
  models_to_pretrain=
  plan_training
  plan=(local/experiment/plan_cross.py --cross "$cross" --exp "$exp_dir" --systems "$systems" --seeds "$seeds"
    --data-dir "$data_dir" --device "$device" --max-jobs "$(max_jobs)")
  exp_dir=$exp_dir/cross
  [ ! -f "$exp_dir/.corpus" ] || die "$exp_dir holds an experiment on $(cat "$exp_dir/.corpus"); give it another name"

  # What is still to do, on data that no other run makes again meanwhile
  lock_exp_dir
  planned=$("${plan[@]}" "$exp_dir")
  record_command
  num_tasks=${planned%%$'\n'*}
  while read -r data; do
    share_lock "$data"
  done <<< "${planned#*$'\n'}"
  log "$(counted "$num_tasks" job) with models to score, what is done is kept; logs in $exp_dir/log/score_cross.*.log"

  # Scores, and their table
  # shellcheck disable=SC2086 # a command and its options
  [ "$num_tasks" -eq 0 ] || $cuda_cmd "${finetune_resources[@]}" JOB=1:"$num_tasks" "$exp_dir/log/score_cross.JOB.log" \
    steps/score_cross.py --config "$exp_dir/tasks/score_cross.JOB.conf" ||
    die "not all is scored, see above; do just what is missing with: ./run.sh$(without_stage "${arguments[@]}")"
  local/results/make_cross.py "$exp_dir"
  echo
  cat "$exp_dir/CROSS"
  cat <<TXT

Table:             $(printf %q "$exp_dir")/CROSS, as data cross.json
Report:            $(printf %q "$exp_dir")/report.html
Result lines:      grep WF1 $(printf %q "$exp_dir")/*/*/*/RESULT
Two systems:       local/results/compare.py SYSTEM_A SYSTEM_B $(printf %q "$exp_dir")/A_on_B
TXT
  exit
}
