#!/usr/bin/env bash
# Make .venv when it is missing and install requirement files into it; quick when that was done before.
#   local/install.sh requirements.txt [requirements-dev.txt]
set -euo pipefail

cd "$(dirname "$0")/.."
environment=.venv
[ $# -ge 1 ] || { echo "Usage: local/install.sh requirements.txt ..." >&2; exit 1; }

# installed FILE: this very text was installed before, and the Python that it was installed for is still there.
installed() { cmp -s "$1" "$environment/.$1" && [ -x "$environment/bin/python" ]; }

missing=()
for file in "$@"; do
  installed "$file" || missing+=("$file")
done
[ ${#missing[@]} -gt 0 ] || exit 0

exec 7> .venv.lock
flock 7  # another run may be installing at this moment
python=${PYTHON:-python3}
command -v "$python" > /dev/null || { echo "install.sh: no $python; install Python 3.10 or newer" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  { echo "install.sh: $("$python" --version) is too old; set PYTHON to Python 3.10 or newer" >&2; exit 1; }
[ -x "$environment/bin/python" ] || "$python" -m venv "$environment" ||
  { echo "install.sh: cannot make $environment; install the venv module of $python" >&2; exit 1; }
for file in "${missing[@]}"; do
  installed "$file" && continue
  echo "install.sh: installing $file into $environment, this takes some minutes" >&2
  "$environment/bin/python" -m pip install --quiet --requirement "$file" 1>&2 ||
    { echo "install.sh: pip could not install $file; see its message above" >&2; exit 1; }
  cp "$file" "$environment/.$file"
done
