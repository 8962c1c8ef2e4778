# shellcheck shell=bash
# Sourced by a script after it has set the variables of its options to their defaults:
#
#   nj=4            # number of jobs
#   help_message="Usage: $0 [--nj 4] <data-dir>"
#   . steps/parse_options.sh
#
# Then `--some-option value` sets some_option, and what follows the options remains in "$@". As in Kaldi, a
# variable that is true or false takes only these words, and `--config FILE`, a shell file of assignments, is
# sourced before the other options wherever it is among them. Unlike in Kaldi, no value is evaluated, and no
# variable is used here that could be one of the script's: the functions know only positional parameters.
# A list is quoted, separated by spaces: --systems "resnet vgg".

parse_options_fail() {
  echo "$0: $1 (see $0 --help)" >&2
  exit 1
}

# parse_options_config "$@": sources what --config names.
parse_options_config() {
  while [[ $# -ge 2 && $1 == --* ]]; do
    if [[ $1 == --config ]]; then
      [[ -r $2 && ! -d $2 ]] || parse_options_fail "--config $2: no such file"
      # realpath, because a name without a slash would be looked for in PATH
      # shellcheck disable=SC1090
      . "$(realpath -s -- "$2")"
    fi
    shift 2
  done
}

# parse_options_version DIR COMMIT: the version, and which commit this is, as git says or, in an archive that git made, as
# it wrote here.
parse_options_version() {
  if [[ $(git -C "$1" rev-parse --show-prefix 2> /dev/null) == steps/ ]]; then
    set -- "$1" "$(git -C "$1" describe --always --tags --dirty=+changes)"
  elif [[ $2 == *Format* ]]; then
    set -- "$1" "neither a git clone nor git's archive of one"
  fi
  echo "${0##*/} $(< "$1/ser/VERSION") ($2)"
}

# parse_options_next "$@": sets the variable of the option in front; false if no option is there.
parse_options_next() {
  case ${1-} in
    --help | -h)
      printf '%b\n' "${help_message:-$0: no help found}"
      exit 0 ;;
    --version)
      # shellcheck disable=SC2016 # git archive writes the commit into these quotes
      parse_options_version "${BASH_SOURCE[0]%/*}" '$Format:%h$'
      exit 0 ;;
    --*=*) parse_options_fail "write ${1%%=*} ${1#*=}, not $1" ;;
    --*) parse_options_set "${1#--}" "${@:2:1}" ;;
    *) return 1 ;;
  esac
}

# parse_options_set some-option [value]
parse_options_set() {
  set -- "$1" "${1//-/_}" "${@:2}" # some-option some_option [value]
  if [[ ! $2 =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || [[ ! -v $2 && $2 != config ]]; then
    parse_options_fail "invalid option --$1"
  elif [[ $# -lt 3 ]]; then
    parse_options_fail "option --$1 needs a value"
  elif [[ ${!2-} =~ ^(true|false)$ && ! $3 =~ ^(true|false)$ ]]; then
    parse_options_fail "expected --$1 true or --$1 false, not '$3'"
  elif [[ -v $2 ]]; then
    printf -v "$2" %s "$3" || exit 1
  fi
}

parse_options_config "$@"
while parse_options_next "$@"; do
  shift 2
done
if [[ -v cmd && -z $cmd ]]; then
  parse_options_fail "empty argument to --cmd"
fi
unset -f parse_options_fail parse_options_config parse_options_version parse_options_next parse_options_set
