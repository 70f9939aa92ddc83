#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built.
set -euo pipefail
here=/autograder/source
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends \
    python3 python3-venv python3-pip bubblewrap libseccomp2
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Stopped: Python 3.11 or newer is needed; choose the base image Ubuntu 24.04."
    exit 1
}
python3 -m venv /autograder/venv
pip() { /autograder/venv/bin/python -m pip install --quiet "$@"; }
pip -r "$here/requirements.txt"
if [ -f "$here/requirements-torch.txt" ]; then
    pip -r "$here/requirements-torch.txt" --extra-index-url https://download.pytorch.org/whl/cpu
fi
