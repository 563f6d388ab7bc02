#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Has Python read what graft writes: every adapter folder of the parity tests, written again by graft, is
# opened by PeftModel.from_pretrained (whose warnings are errors) or adapters' load_adapter (nothing may be
# missing or left over), and its outputs compared. RESULTS.md has what came out.
#
#   PEFT_PYTHON=a/bin/python ADAPTERS_PYTHON=b/bin/python tests/interop/run.sh [PRESET]
#
# a and b are the environments of tests/golden/README.md; PRESET (asan) must be built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
preset=${1:-asan}
: "${PEFT_PYTHON:?}" "${ADAPTERS_PYTHON:?}"

export GRAFT_INTEROP
GRAFT_INTEROP=$(mktemp -d)
trap 'rm -rf "$GRAFT_INTEROP"' EXIT
mkdir "$GRAFT_INTEROP/peft" "$GRAFT_INTEROP/adapterhub"
"build/$preset/tests/graft_test_parity" "[#peft_folders],[#adapterhub]" --filenames-as-tags
status=0
"$PEFT_PYTHON" tests/golden/peft_folders.py --check "$GRAFT_INTEROP/peft" || status=1
"$ADAPTERS_PYTHON" tests/golden/adapterhub_folders.py --check "$GRAFT_INTEROP/adapterhub" || status=1
exit $status
