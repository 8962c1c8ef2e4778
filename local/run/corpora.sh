# shellcheck shell=bash disable=SC2034,SC2154
# Which corpora a run works on, and how its data directories are made; sourced by run.sh, whose variables these are.

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
