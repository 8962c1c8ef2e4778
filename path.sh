# shellcheck shell=bash
# Sourced by every script from the recipe's root; rebuilds the whole environment of a job from PATH alone.
# Finds the Python environment in .venv (yours may be a link to another) or makes it.

SER_ROOT=$(realpath -s -- "$(dirname -- "${BASH_SOURCE[0]}")")  # no cd, which CDPATH would send elsewhere
export SER_ROOT
export PATH=$SER_ROOT/.venv/bin:$SER_ROOT/steps/parallel:$PATH
export PYTHONPATH=$SER_ROOT/steps:$SER_ROOT
# What breaks or changes a Python of .venv, its packages, or a bash -c, whose output may be sound
unset PYTHONHOME PYTHONPLATLIBDIR PYTHONSAFEPATH PYTHONINSPECT PYTHONIOENCODING BASH_ENV
export PYTHONNOUSERSITE=1 MPLBACKEND=Agg
export LC_ALL=C PYTHONUTF8=1
# glibc hands large freed buffers back to the kernel and page-faults them in again at the next batch, which
# costs more than the convolutions; these thresholds make it keep them.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184
# One threading setting for all libraries: jobs get theirs from the runner's --num-threads.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ -x "$SER_ROOT/local/install.sh" ]; then
  "$SER_ROOT/local/install.sh" requirements.txt
else
  echo "path.sh: the scripts in $SER_ROOT cannot be executed; give them the right to (cd there;" \
    "grep -rlZ '^#!' run.sh .ci local steps tests | xargs -0 chmod +x), on a disk that is not mounted noexec" >&2
  false
fi
