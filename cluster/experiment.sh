#!/usr/bin/env bash
# Run one experiment in a clone of its own; push its outputs and its results.
#
#   cluster/experiment.sh run <git URL> <commit> '<setting> <setting>…'
#
# In a Slurm array there is such an argument for each element. `check` in place of `run` ends before
# the work. BERT_LATENCY_VENV names an environment to use; without it, one is made for the clone.
#
# A latency needs the machine for itself, and its results need one kind of machine.
#SBATCH --exclusive
#SBATCH --mem=0
set -euo pipefail
export GIT_TERMINAL_PROMPT=0

die() {
  echo "experiment: $*" >&2
  exit 1
}

# must <message> <command>…: run a command quietly; if it fails, say the message and its first line.
must() {
  local message=$1 printed
  shift
  printed=$("$@" 2>&1) || die "$message (${printed%%$'\n'*})"
}

# Print the name of the experiment with these settings: what a git reference may contain.
name_of() {
  LC_ALL=C sed -E 's/([^[:alnum:]_.-]|\.\.+)+/-/g; s/^[-.]+//; s/^(.{,200}).*/\1/; s/[-.]+$//' <<<"$1"
}

mode=$1 url=$2 commit=$3
shift 3
for each; do
  must "$each: its quotes can't be read" xargs <<<"$each"
done
twice=$(for each; do name_of "$each"; done | sort | uniq --repeated)
[ -z "$twice" ] || die "two lines make the experiment ${twice%%$'\n'*}; change or remove one"

scratch=$(mktemp --directory --tmpdir="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}" bert-latency.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
must "$url can't be cloned on $(hostname)" git clone --no-checkout "$url" "$scratch/project"
cd "$scratch/project"
must "commit $commit is not on $url; push it there" git checkout --detach "$commit"
commit=$(git rev-parse HEAD) # as DVC names it: it may be abbreviated, or a tag
exps=refs/exps/${commit::2}/${commit:2}
must "$url can't be pushed to from $(hostname)" git push --dry-run origin "HEAD:$exps/probe"

if [ "$mode" = run ]; then
  index=${SLURM_ARRAY_TASK_ID:-1}
  line=${!index}
  name=$(name_of "$line")
  if [ -n "$(git ls-remote origin "$exps/$name")" ]; then
    echo "experiment: $name of $commit is on $url already; nothing to do"
    exit
  fi
  [ -n "${BERT_LATENCY_VENV-}" ] || make .venv/ready
fi
venv=${BERT_LATENCY_VENV:-$PWD/.venv}
export PATH=$venv/bin:$PATH
[ "$mode" = check ] || [ -x "$venv/bin/dvc" ] || die "no dvc in BERT_LATENCY_VENV=$venv"

remote=$(dvc config core.remote)
[ -n "$remote" ] || die "commit $commit has no DVC remote; dvc remote add --default store <URL>, commit, push"
store=$(dvc config "remote.$remote.url")
# DVC would make the directory, and what is pushed into it would stay on this machine.
[[ $store == *://* || -d $store ]] || die "the DVC remote $store is not a directory on $(hostname)"
[ "$mode" = run ] || exit 0

dvc pull --allow-missing
mapfile -t settings < <(xargs printf '%s\n' <<<"$line")
dvc exp run --name "$name" "${settings[@]/#/--set-param=}"
dvc push
dvc exp push --no-cache origin "$name"
# DVC only warns where an experiment of that name has come first.
[ "$(git ls-remote origin "$exps/$name" | cut -f1)" = "$(git rev-parse "$exps/$name")" ] ||
  die "another experiment $name of $commit has been pushed to $url meanwhile; rename one"
