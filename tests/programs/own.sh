#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The examples of a layer, a decoration, a network and a backend of one's own do what they say.
. "$(dirname "$0")/support.sh"

# The last number of the line of `out` that begins with $1.
last_number() { sed -n "s/^$1.* \([0-9.]*\)$/\1/p" out; }

expect 0 "" hello_graft
holds "hello_graft learns" "$(last_number 'step 200') < 0.05 && $(last_number 'step   0') > 0.5"

expect 0 "" own_decoration
grep -q '^layer.\*.feed_forward.output.ssf  *128  *128$' out || fail "no ssf in $(cat out)"
holds "own_decoration learns" "$(last_number 'step 100') < 0.1 && $(last_number 'step   0') > 0.5"

expect 0 "" own_network
holds "own_network learns" "$(last_number 'first robot') < 0.01 && $(last_number 'second robot') < 0.02"
grep -q '^second robot: *23 trained' out || fail "not 23 trained: $(cat out)"

expect 0 "" own_backend
forwards() { sed -n "s/^$1 *\([0-9.]*\) forwards$/\1/p" out; }
# (Of the highest of four layers little is computed but keys and values: of 12 parts of a layer's 2, so that the two
# highest take 2 (12 + 2) - 3 of 3 · 12 + 2 more.)
holds "a frozen network costs one forward, a whole one three" \
  "$(forwards head) < 1.01 && $(forwards top2) > 1.6 && $(forwards top2) < 1.75 &&
   $(forwards lora) > 1.8 && $(forwards lora) < 2.3 && $(forwards full) > 2.8 && $(forwards full) <= 3"
finish
