#!/usr/bin/env bash
# Run an experiment on another machine for each line of a file, all from the commit checked out here:
#
#   cluster/sweep.sh settings.txt sbatch --time=4:00:00   # Slurm: an array, an element per line
#   cluster/sweep.sh settings.txt sky jobs launch --yes   # SkyPilot: a machine per line
#
# A line holds settings, quoted as in a shell: seed=14 'quantize=[int8]' 'forms=[pytorch,onnx,int8]'.
# REMOTE names the git remote (origin). Nothing starts before the commit and both remotes are found good.
set -euo pipefail

die() {
  echo "sweep: $*" >&2
  exit 1
}

[ $# -ge 2 ] || die "name a file of settings and a command: sweep.sh settings.txt sbatch"
file=$1
shift
[ -r "$file" ] || die "no $file; write the settings of an experiment into each line"
mapfile -t lines < <(tr -d '\r' <"$file" | grep --extended-regexp --invert-match '^\s*(#|$)')
[ ${#lines[@]} -gt 0 ] || die "no settings in $file; write those of an experiment into each line"

cd "$(dirname "$0")/.."
remote=${REMOTE:-origin}
url=$(git remote get-url "$remote" 2>&1) || die "no git remote $remote; add it, or name another: REMOTE=…"
[ ! -d "$url" ] || url=$(realpath "$url")
# Files that git doesn't know matter where the pipeline reads them.
changed=$(git status --porcelain --untracked-files=no && git status --porcelain conf stages dvc.yaml)
[ -z "$changed" ] || die "uncommitted: ${changed%%$'\n'*}; a clone lacks it: commit and push, or restore"
commit=$(git rev-parse HEAD)
PATH=$PWD/.venv/bin:$PATH cluster/experiment.sh check "$url" "$commit" "${lines[@]}"

case $1 in
  sbatch)
    sbatch --job-name=bert-latency --array="1-${#lines[@]}" "${@:2}" \
      cluster/experiment.sh run "$url" "$commit" "${lines[@]}"
    ;;
  sky)
    for line in "${lines[@]}"; do
      "$@" --env REPOSITORY="$url" --env COMMIT="$commit" --env SETTINGS="$line" cluster/skypilot.yaml
    done
    ;;
  *) die "$1: sbatch or sky can start the experiments" ;;
esac
echo "sweep: ${#lines[@]} experiments; those that have ended come with: dvc exp pull --no-cache $remote"
