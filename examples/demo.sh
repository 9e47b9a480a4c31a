#!/bin/sh
# The demo behind `make demo`: index the example documents, ask four questions, one of them about a recording, and
# write the crop behind one citation and the clip behind another.
set -eu
home=$1
bin=$home/venv/bin
data=$home/data
"$bin/python" examples/make_documents.py "$home/documents"
cp examples/members-meeting.mp4 "$home/documents"
run() {
    printf '\n$ sensorium %s\n' "$*"
    "$bin/sensorium" "$@" --data "$data"
}
run index "$home/documents"
run ask "How many visitors did Sandreef have in 2024?"
run ask "Until when is the permit for the fog signal of Old Mole valid?"
run ask "How many passengers does the new supply boat carry?"
run ask "Who designed the lighthouse of Gull Point?"
node=$("$bin/sensorium" search "visitors by lighthouse" --top-k 1 --json --data "$data" |
    "$bin/python" -c 'import json, sys; print(json.load(sys.stdin)["hits"][0]["node_id"])')
run show "$node" -o "$home/evidence.png"
node=$("$bin/sensorium" search "passengers of the supply boat" --filter kind=speech --top-k 1 --json --data "$data" |
    "$bin/python" -c 'import json, sys; print(json.load(sys.stdin)["hits"][0]["node_id"])')
run show "$node" -o "$home/evidence.mp4"
