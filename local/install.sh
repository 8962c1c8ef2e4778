#!/usr/bin/env bash
# Make .venv when it is missing and install requirement files into it; quick when that was done before.
#   local/install.sh requirements.txt [requirements-dev.txt]
# A .venv that an earlier call began and did not finish is made anew; one that another tool made is never removed.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."
environment=.venv
# Only in a .venv made here: the Python that it is finished for; empty while it is being made or changed.
state=$environment/.made_by_install.sh

fail() { echo "install.sh: $*" >&2; exit 1; }
[ $# -ge 1 ] || { echo "Usage: local/install.sh requirements.txt ..." >&2; exit 1; }

made_here() { [ -f "$state" ] && [ ! -L "$environment" ]; }
finished() {
  [ -x "$environment/bin/python" ] &&
    { ! made_here || [ "$(< "$state")" = "$(realpath -- "$environment/bin/python")" ]; }
}
# installed FILE: this very text was installed before, and the Python that it was installed for is still there.
installed() { cmp -s "$1" "$environment/.$1" && finished; }

# set_missing FILE...: the array `missing` becomes those that are not installed.
set_missing() {
  missing=()
  local file
  for file in "$@"; do
    installed "$file" || missing+=("$file")
  done
}

# job_here: what this process is a part of, when that is a job of a cluster or one of an array of jobs.
job_here() {
  local name
  for name in SLURM_JOB_ID SGE_TASK_ID PBS_JOBID LSB_JOBID CI_NODE_INDEX BUILDKITE_PARALLEL_JOB; do
    [ -z "${!name-}" ] || { echo "a job ($name=${!name})"; return; }
  done
}

set_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

# May it be made here, and by this user?
owner="which belongs to $(stat -c %U .)"
if [ -e "$environment" ] && [ ! -x "$environment/" ] || [ -d "$environment/bin" ] && [ ! -x "$environment/bin/" ]; then
  fail "you may not read $PWD/$environment, $owner; ask for chmod -R a+rX $environment, or make a clone of your own"
fi
job=$(job_here)
[ -z "$job" ] || fail "nothing is installed inside $job; run this once before, on the submit host: . $PWD/path.sh"
[ -w . ] || fail "$environment must be made or changed, and you may not write to $PWD, $owner;" \
  "have '. ./path.sh' run there by who may, or make a clone of your own"
command -v flock > /dev/null || fail "no flock in PATH; install util-linux"

trap 'echo "install.sh: interrupted; the same command begins anew" >&2; exit 130' INT
{ exec 7> .venv.lock; } 2> /dev/null || fail "you may not write to $PWD/.venv.lock; remove it"
flock -n 7 || { echo "install.sh: another call is installing into $PWD/$environment, waiting for it" >&2; flock 7; }
set_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

# A Python that is not the one of .venv, which may be broken
PATH=:$PATH:
PATH=${PATH//":$PWD/$environment/bin:"/:}
PATH=${PATH#:} PATH=${PATH%:}
unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=0
python=${PYTHON:-python3}

if ! finished; then
  made_here || [ ! -e "$environment/bin" ] && [ ! -L "$environment" ] ||
    fail "$PWD/$environment has no Python that can be run; remove it (rm -r $environment)"
  command -v "$python" > /dev/null || fail "no $python; install Python 3.10 or newer"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old; set PYTHON to Python 3.10 or newer"
  if made_here; then
    echo "install.sh: $PWD/$environment was left unfinished, or its Python has changed; making it anew" >&2
    : > "$state"
    find "$environment" -mindepth 1 ! -path "$state" -delete
  fi
  mkdir -p "$environment"
  : > "$state"
  said=$("$python" -m venv "$environment" 2>&1) ||
    fail "cannot make $environment; install the venv module of $python${said:+ (${said##*$'\n'})}"
fi

python=$environment/bin/python
"$python" -m pip --version &> /dev/null || "$python" -m ensurepip &> /dev/null || true
"$python" -m pip --version &> /dev/null ||
  fail "$PWD/$environment has no pip, as if it was never finished; remove it (rm -r $environment)"
for file in "${missing[@]}"; do
  echo "install.sh: installing $file into $environment, this takes some minutes" >&2
  was=$(made_here && cat "$state" || true)
  ! made_here || : > "$state"
  "$python" -m pip install --quiet --requirement "$file" 1>&2 || {
    [ -z "$was" ] || echo "$was" > "$state"
    fail "pip could not install $file; see its message above"
  }
  cp "$file" "$environment/.$file"
  ! made_here || realpath -- "$python" > "$state"
done
