#!/bin/sh
# Tries everything that an NVIDIA card is for, in at most four minutes: the tests of tests/cuda,
# the times of benchmarks/card.py and, where lightning-fabric is there, a minute of training each
# of two recipes. Builds nothing and needs no network; only what it lacks is left out.
#
#   try_card.sh FOLDER [--rehearse]
#
# FOLDER receives card.json and card.md, and what each step printed. PYTHON names the interpreter
# (python3). --rehearse tries the script itself where there is no card, on tiny pictures.
set -u
folder=${1:?where do the results go?}
rehearse=${2:-}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.." || exit 2
export PYTHONPATH="$PWD:$PWD/daemon:$PWD/gimp_plugin:$PWD/training${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
mkdir -p "$folder" || exit 2
deadline=$(($(date +%s) + 235))
failed=0

# step NAME SECONDS COMMAND…: runs it for so long at most, and never beyond the four minutes.
step() {
    name=$1
    most=$2
    shift 2
    left=$((deadline - $(date +%s)))
    [ "$left" -lt "$most" ] && most=$left
    if [ "$most" -lt 10 ]; then
        echo "$name: no time left"
        failed=1
        return 1
    fi
    began=$(date +%s)
    timeout --kill-after=5 "$most" "$@" >"$folder/$name.log" 2>&1
    code=$?
    echo "$name: exit $code after $(($(date +%s) - began)) s"
    [ "$code" -eq 0 ] || {
        tail -n 25 "$folder/$name.log"
        failed=1
    }
    return "$code"
}

has() { "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$1') is None)"; }

if [ -n "$rehearse" ]; then
    export TRITON_INTERPRET=1
else
    export TRITON_INTERPRET=0
    nvidia-smi --query-gpu=name,driver_version,memory.total,pcie.link.gen.current,pcie.link.width.current \
        --format=csv 2>&1 | tee "$folder/card.txt"
fi

# Compiling is most of the tests' time, so they share it out where they can.
spread=""
if [ -z "$rehearse" ] && has xdist; then spread="-n 8"; fi
# shellcheck disable=SC2086
step tests 90 "$python" -m pytest tests/cuda -p no:cacheprovider -q -rs --timeout 80 $spread
tail -n 3 "$folder/tests.log"
step times 120 "$python" -m benchmarks.card "$folder" --seconds 85 $rehearse
[ -f "$folder/card.md" ] && cat "$folder/card.md"

if has lightning_fabric; then
    step data 20 "$python" -m benchmarks.card_data "$folder/data"
    for recipe in star-dce-mnorm deepupe-mconcat; do
        step "fit-$recipe" 75 "$python" -m maskupe_training fit "$recipe" --data "$folder/data" \
            --out "$folder/run-$recipe" --set masks.kinds.silhouette=0 --max-minutes "$([ -n "$rehearse" ] && echo 0.1 || echo 1)"
        tail -n 3 "$folder/fit-$recipe.log"
    done
    rm -rf "$folder/data" "$folder"/run-*
else
    echo "training: lightning-fabric is not here"
fi
exit "$failed"
