# shellcheck shell=bash disable=SC2034,SC2154
# Which corpora a run works on, and how its data directories are made; sourced by run.sh, whose variables these are.

# read_corpora: conf/corpora.conf into emotion_corpora, speaker_corpora and, by name, corpus_protocol, corpus_options,
# corpus_folder; the defaults of the options into option_default. Makes a variable of each name, which is what
# parse_options.sh makes an option of.
read_corpora() {
  emotion_corpora=()
  speaker_corpora=()
  declare -gA corpus_protocol=() corpus_options=() corpus_folder=() option_default=()
  local column_name column_protocol column_options column_folder option key
  while read -r column_name column_protocol column_options column_folder; do
    [[ $column_name =~ ^[a-z] ]] || continue
    declare -g "$column_name="
    corpus_protocol[$column_name]=$column_protocol
    column_options=${column_options#-}
    corpus_options[$column_name]=${column_options//,/ }
    corpus_folder[$column_name]=$column_folder
    for option in ${corpus_options[$column_name]}; do
      key=${option//-/_}
      option_default[$option]=${!key}
    done
    if [ "$column_protocol" = identification ]; then
      speaker_corpora+=("$column_name")
    else
      emotion_corpora+=("$column_name")
    fi
  done < conf/corpora.conf
  corpus_options[kaldi]=allow-unlabelled
}

# corpora_help NAMES...: their lines of --help.
corpora_help() {
  local key
  for key in "$@"; do
    printf '  %-26s %s\n' "--$key DIR" "${corpus_folder[$key]}"
  done
}

# option_with_value NAMES...: that one of these options which has a value, if any; two of them are an error.
option_with_value() {
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
  local folder_option option used_options all_options=${corpus_options[*]}
  # The corpus of emotion
  folder_option=$(option_with_value "${emotion_corpora[@]}" ser_data)
  [ -z "$folder_option" ] || [ -z "$corpus" ] || [ "$corpus" = "${folder_option/ser_data/kaldi}" ] ||
    die "--corpus $corpus does not use the folder given for $(as_options "$folder_option"); leave one of them out"
  corpus=${corpus:-${folder_option/ser_data/kaldi}}
  corpus=${corpus:-mini}
  [[ " mini kaldi ${emotion_corpora[*]} " == *" $corpus "* ]] ||
    die "--corpus $corpus: expected one of mini ${emotion_corpora[*]}"

  # The corpus to pre-train on
  pretrain_corpus=$(option_with_value "${speaker_corpora[@]}" pretrain_data pretrained)
  [ "$corpus" != mini ] || [ -z "$pretrain_corpus" ] ||
    die "the default makes its own corpora; name an emotion corpus, too (see ./run.sh --help)"

  # Options of either
  used_options=" ${corpus_options[${corpus/mini/iemocap}]-} ${pretrain_corpus:+${corpus_options[$pretrain_corpus]-}} "
  for option in $all_options; do
    [[ $used_options == *" $option "* || " ${arguments[*]} " != *" --$option "* ]] ||
      die "--$option is not for --corpus $corpus; conf/corpora.conf says which corpora take it"
  done
}

# changed_options CORPUS: its options that are not at their default, such as _scope-all, as a part of a name.
changed_options() {
  local option key
  for option in ${corpus_options[$1]}; do
    key=${option//-/_}
    [ "${!key}" = "${option_default[$option]}" ] || printf '_%s-%s' "$option" "${!key}"
  done
}

# shaping_options [DEFAULT_PROTOCOL]: what else shapes a data directory and is not at its default, in the same form:
# copies, features, and for emotion the folds. A configuration counts by its text.
shaping_options() {
  local kind config
  if [ $# -gt 0 ]; then
    [ "$protocol" = "$1" ] || printf '_protocol-%s' "$protocol"
    [ "$num_folds" -eq 5 ] || printf '_num-folds-%s' "$num_folds"
  fi
  [ "$duplicates" = drop ] || printf '_duplicates-%s' "$duplicates"
  features_option
  for kind in fbank vad; do
    config=${kind}_config
    [ ! -f "${!config}" ] || cmp -s "${!config}" "conf/$kind.conf" ||
      printf '_%s-%s' "$kind" "$(sha256sum < "${!config}" | cut -c 1-6)"
  done
}

# features_option: of what the features are, unless of filterbanks, in the same form; a model counts by its place.
features_option() {
  [ "$feats_type" = fbank ] || printf '_feats-type-%s' "$feats_type"
  [ "$feats_type" != ssl ] ||
    printf '_ssl-model-%s_ssl-layer-%s' "$(realpath "$ssl_model" | sha256sum | cut -c 1-6)" "$ssl_layer"
}

# check_features: whether --feats-type and the options that go with it fit each other and the corpora.
check_features() {
  local option unused=" "
  case $feats_type in
    fbank) unused=" ssl-model ssl-layer " ;;
    ssl)
      unused=" fbank-config "
      [ -n "$ssl_model" ] || die "--feats-type ssl needs --ssl-model DIR"
      [ -d "$ssl_model" ] || die "--ssl-model $ssl_model: no such directory; nothing is downloaded"
      [[ $ssl_layer =~ ^(mean|[0-9]+)$ ]] || die "--ssl-layer $ssl_layer: expected a number from 0, or mean" ;;
    extracted)
      unused=" ssl-model ssl-layer fbank-config vad-config "
      [ "$corpus" = kaldi ] && [[ $pretrain_corpus =~ ^(|pretrain_data)$ ]] ||
        die "--feats-type extracted takes feats.scp of --ser-data DIR and --pretrain-data DIR, and of no other corpus" ;;
    *) die "--feats-type $feats_type: expected fbank, ssl or extracted" ;;
  esac
  for option in $unused; do
    [[ " ${arguments[*]} " != *" --$option "* ]] || die "--$option is not for --feats-type $feats_type"
  done
}

# data_dir_of NAME SOURCE [OPTIONS]: the data directory of a source. Two sources or two sets of options never share one,
# as its name ends with a checksum of both; blanks and JOB, which job runners replace, are not in it.
data_dir_of() {
  local checksum name=$1${3-}
  checksum=$(printf '%s' "$(realpath "$2")${3-}" | sha256sum)
  name=${name//[[:space:]\/]/+}
  echo "$data_dir/${name//JOB/job}_${checksum:0:6}"
}

# set_prepare CORPUS DIR DATA: the array `prepare` becomes the command that makes DATA of a corpus.
set_prepare() {
  local option key
  prepare=("local/$1_data_prep.py")
  for option in ${corpus_options[$1]}; do
    key=${option//-/_}
    prepare+=("--$option" "${!key}")
  done
  prepare+=("$2" "$3")
}

# set_emotion_data: the data directory of the emotion corpus, the command of stage 1 that makes it, its source, its
# protocol, and what the results are of.
set_emotion_data() {
  local prepare name options shape
  take_feats=()  # of a user's directory, instead of the audio
  [ "$feats_type" != extracted ] || take_feats=(--feats true)
  mini_root=$data_dir/local/mini
  case $corpus in
    mini)
      name=mini
      protocol=${protocol:-${corpus_protocol[iemocap]}}
      options=$(changed_options iemocap)
      shape=$(shaping_options "${corpus_protocol[iemocap]}")
      emotion_data=$data_dir/mini_iemocap$options$shape
      set_prepare iemocap "$mini_root/IEMOCAP_full_release" "$emotion_data" ;;
    kaldi)
      require_directory ser-data "$ser_data"
      name=$(basename "$(realpath "$ser_data")")
      protocol=${protocol:-auto}
      [ "$allow_unlabelled" = false ] || options=_allow-unlabelled-$allow_unlabelled
      shape=$(shaping_options auto)
      emotion_data=$(data_dir_of "$name" "$ser_data" "${options-}$shape")
      [ ! -f "$ser_data/dataset" ] || name=$(cat "$ser_data/dataset")
      prepare=(local/kaldi_data_prep.py "${take_feats[@]}" --emotion true --allow-unlabelled "$allow_unlabelled" \
        "$ser_data" "$emotion_data") ;;
    *)
      require_directory "$corpus" "${!corpus}"
      name=$corpus
      protocol=${protocol:-${corpus_protocol[$corpus]}}
      options=$(changed_options "$corpus")
      shape=$(shaping_options "${corpus_protocol[$corpus]}")
      emotion_data=$(data_dir_of "$corpus" "${!corpus}" "$options$shape")
      set_prepare "$corpus" "${!corpus}" "$emotion_data" ;;
  esac
  prepare_emotion_data=("${prepare[@]}")
  corpus_and_protocol="$name${options-}$(features_option) ${protocol/kfold/kfold$num_folds}"
  declare -gA source_of=(["$emotion_data"]=${prepare[-2]})
  data_dirs=("$emotion_data")
}

# set_speaker_data: the same for the corpus to pre-train on, when it is one that systems start from.
set_speaker_data() {
  local prepare options shape
  shape=$(shaping_options)
  if [ "$corpus" = mini ]; then
    speaker_data=$data_dir/mini_voxceleb1$shape
    set_prepare voxceleb1 "$mini_root/VoxCeleb1" "$speaker_data"
  elif [ "$pretrain_corpus" = pretrain_data ]; then
    require_directory pretrain-data "$pretrain_data"
    speaker_data=$(data_dir_of "$(basename "$(realpath "$pretrain_data")")" "$pretrain_data" "$shape")
    [ "$speaker_data" != "$emotion_data" ] || speaker_data=${speaker_data}_pretrain
    prepare=(local/kaldi_data_prep.py "${take_feats[@]}" --emotion false "$pretrain_data" "$speaker_data")
  else
    require_directory "$pretrain_corpus" "${!pretrain_corpus}"
    options=$(changed_options "$pretrain_corpus")
    speaker_data=$(data_dir_of "$pretrain_corpus" "${!pretrain_corpus}" "$options$shape")
    set_prepare "$pretrain_corpus" "${!pretrain_corpus}" "$speaker_data"
  fi
  prepare_speaker_data=("${prepare[@]}")
  source_of[$speaker_data]=${prepare[-2]}
  data_dirs+=("$speaker_data")
}

# set_extractor: an extractor that is trained already, in place of a corpus to pre-train on; it is one for all seeds.
set_extractor() {
  local name hint words
  [ -n "$pretrained" ] || hint=" (--pretrain-data DIR or --pretrained DIR names another start)"
  pretrained=${pretrained:-local/pretrained/speech_commands_resnet18}
  require_directory pretrained "$pretrained"
  for name in pretrain_seeds pretrain_config; do
    [ -z "${!name}" ] || die "--${name//_/-} ${!name}: nothing is pre-trained, as $pretrained is one extractor for all" \
      "seeds; leave it out or name a corpus to pre-train on"
  done
  use_pretrained=(local/experiment/use_pretrained.py --systems "$systems" --feats-type "$feats_type"
    --fbank-config "$fbank_config" "$pretrained" "$exp_dir")
  words=$("${use_pretrained[@]}" check)
  log "pre-trained systems start from $words${hint-}"
  models_to_pretrain=
  pretrain_seeds=0
}
