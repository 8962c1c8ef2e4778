#!/usr/bin/env bash
# Make the environment when it is missing, check the code, run the tests; arguments go to pytest.
#   tests/run.sh           all of it: minutes
#   tests/run.sh --quick   a minute: the checks, and the tests of the packages without those that take long
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."
. ./path.sh
local/install.sh requirements.txt requirements-dev.txt
scripts="run.sh path.sh cmd.sh local/*.sh local/run/*.sh steps/*.sh tests/*.sh tests/clusters/*.sh .ci/run"
printf '%s\n' "ruff check ." "lint-imports --no-cache" mypy "shellcheck --external-sources -P . -P SCRIPTDIR $scripts" |
  xargs --max-procs 4 -I {} bash -c {}
unset PYTHONDONTWRITEBYTECODE  # the tests start some thousand processes, which would compile the recipe each time
# One worker more than cores, as tests of schedulers wait; conftest.py gives out the tests.
cores=$(env -u OMP_NUM_THREADS nproc)
python -m pytest -q --numprocesses $((cores < 6 ? cores + 1 : 8)) --no-loadscope-reorder "$@"
