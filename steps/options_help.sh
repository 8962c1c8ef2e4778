# shellcheck shell=bash
# Sourced by a script whose --help lists its options, each of which is written once, in the configuration section:
#
#   nj=4            # N: parallel jobs
#
# The functions know only positional parameters, as no variable of theirs may hide one of the script's.

# options_help SCRIPT: a line for each option, such as `  --nj N    parallel jobs (default: 4)`. The default is the
# value that the variable has at this moment, unless the comment says what it is.
options_help() {
  while IFS= read -r REPLY; do
    if [[ $REPLY =~ ^([a-z][a-z0-9_]*)=.*'# '([A-Z]+)': '(.*)$ ]]; then
      options_help_line "${BASH_REMATCH[@]:1}"
    fi
  done < <(sed '/^# End configuration section/q' "$1")
}

# options_help_line some_option METAVAR TEXT
options_help_line() {
  if [[ -n ${!1} && $3 != *"(default: "* ]]; then
    set -- "$1" "$2" "$3 (default: ${!1})"
  fi
  printf '  %-26s %s\n' "--${1//_/-} $2" "$3"
}
