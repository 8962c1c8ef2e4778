# shellcheck shell=bash disable=SC2034,SC2154
# Who may read and who may make data directories, from what they are made, and their features; sourced by run.sh, whose
# variables these are. Locks are dropped by the kernel when this run and its jobs have ended, however that came about.

declare -A data_lock=()  # data directory to the descriptor of its lock

# lock_data_dir: wait while another run makes data directories, and keep the next one from it until release_data_dir.
lock_data_dir() {
  local data
  if [ ! -e "$data_dir" ] || [ -w "$data_dir" ]; then  # else whatever is missing there will say so
    mkdir -p "$data_dir"
    exec 8> "$data_dir/.lock"
    flock -n 8 || { log "another run.sh makes data directories in $data_dir, waiting for it"; flock 8; }
  fi
  for data in "${data_dirs[@]}"; do
    share_lock "$data"
  done
}

# release_data_dir: other runs may make data directories, and read those of this one until it ends.
release_data_dir() {
  local data
  for data in "${!data_lock[@]}"; do
    flock -s "${data_lock[$data]}"
  done
  exec 8>&-
}

# share_lock DATA: say that this run reads a data directory, so that none makes it again.
share_lock() {
  local descriptor
  if { mkdir -p "$1" && touch "$1/.lock"; } 2> /dev/null; then
    exec {descriptor}<> "$1/.lock"
  elif [ -r "$1/.lock" ]; then  # a directory that may only be read
    exec {descriptor}< "$1/.lock"
  else
    return 0
  fi
  flock -s "$descriptor"
  data_lock[$1]=$descriptor
}

# claim_data_dir DATA REASON: from here this run alone uses a data directory, because it makes it.
claim_data_dir() {
  [ -z "${data_lock[$1]-}" ] || flock -n -x "${data_lock[$1]}" ||
    die "$1 is in use by another run.sh and must be made again, because $2; wait for it or give another --data-dir"
}

# begin_preparation DATA COMMAND...: begin stage 1 of a data directory that a command makes of its last word but one.
begin_preparation() {
  local data=$1 reason
  is_in_run 1 || return 1
  reason=$(local/list_source.py "${@:2}") || exit 1
  begin_if "$reason" 1 "data directory $data" "$data/.source.json"
}

# features_key: what the features of this run depend on beside the data directory.
features_key() {
  case $feats_type in
    fbank) cat "$fbank_config" "$vad_config" ;;
    ssl)
      echo "ssl layer $ssl_layer of $(realpath "$ssl_model")"
      find -L "$ssl_model" -maxdepth 1 -type f \( -name '*.json' -o -name '*.safetensors' -o -name '*.bin' \) \
        -printf '%f %s %T@\n' | sort
      cat "$vad_config" ;;
    extracted) echo extracted ;;
  esac
}

# make_features DATA: features and voice activity of a data directory, of the utterances that have both.
make_features() {
  local without=(--no-text)
  case $feats_type in
    fbank) steps/make_fbank.sh --nj "$nj" --cmd "$train_cmd" --fbank-config "$fbank_config" "$1" ;;
    ssl)
      local jobs=$nj gpu=
      [ "$device" = cpu ] || { jobs=$((ngpu * num_nodes)) gpu=" --gpu 1"; }
      steps/make_ssl.sh --nj "$jobs" --cmd "$cuda_cmd$gpu" --device "$device" --ssl-model "$ssl_model" \
        --ssl-layer "$ssl_layer" "$1" ;;
    extracted)
      without+=(--no-wav)
      steps/check_feats.sh --nj "$nj" --cmd "$train_cmd" "$1" ;;
  esac
  [ "$feats_type" = extracted ] ||
    steps/compute_vad.sh --nj "$nj" --cmd "$train_cmd" --vad-config "$vad_config" "$1"
  steps/fix_data_dir.py "$1"
  steps/validate_data_dir.py "${without[@]}" "$1"
}

# name_source: the last words of a run that fails while it makes a data directory of a source.
name_source() {
  local status=$? data=${marker%/*}
  if [ "$status" -ne 0 ] && [ "$status" -le 128 ] && [ -n "$data" ] && [ -n "${source_of[$data]-}" ]; then
    echo "run.sh: $data is made from ${source_of[$data]}: what is wrong in its files is corrected there; the same command makes $data again" >&2
  fi
}
