#!/usr/bin/env bash
# SHA-256 of everything that the verbs write on small networks, as a table: `benches/bytes.sh PROGRAM > after.tsv`.
#
# Two programs write the same where their tables are equal: make one before a change, one after it, and compare with diff.
# The pair of real networks is checkpoints/cifar10_resnet20/ in $ONEBASIN_TEST_DATA (default ../shared/data), its data the
# folder $ONEBASIN_CIFAR10; where one is missing it is left out, by name. Every line: digest, file, the command that wrote it.
set -euo pipefail
[ $# = 1 ] || { echo "usage: benches/bytes.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
here=$(realpath "$(dirname "$0")/..")
data=$(realpath -m "${ONEBASIN_TEST_DATA:-$here/../shared/data}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir -p data
[ -d "${ONEBASIN_CIFAR10:-}" ] && ln -s "$(realpath "$ONEBASIN_CIFAR10")" data/cifar10
ln -s "$here/data/trained" trained
ln -s "$here/crates/onebasin-io/tests/goldens" goldens
[ -d "$data/checkpoints/cifar10_resnet20" ] && ln -s "$data/checkpoints/cifar10_resnet20" real

# Runs a command, and prints the digests of what it says as JSON and of the files and folders it wrote.
did() {
  local outputs=$1; shift
  echo "$*" >&2
  "$program" --json "$@" > said.json
  for file in said.json $outputs; do
    find "$file" -type f ! -path '*/cache/*' | LC_ALL=C sort | while read -r part; do
      printf '%s\t%s\t%s\n' "$(sha256sum < "$part" | cut -d' ' -f1)" "$part" "$*"
    done
  done
}

for seed in 0 1 2; do did m$seed.safetensors train mlp:24x2 --data digits --epochs 2 --seed $seed -o m$seed.safetensors; done
did m3.safetensors train mlp:64x2 --data digits --epochs 2 --recipe mnist-mlp --optimizer sgd --share 0.5 -o m3.safetensors
pair="m0.safetensors m1.safetensors"

# Every method, every way to start.
for method in auto weight spectral frank-wolfe greedy; do
  did "al.safetensors al.json" match $pair -o al.safetensors --report al.json --method $method
done
did al.safetensors match $pair -o al.safetensors --method weight --start identity --restarts 1 --order alternating --seed 3
for method in auto activation; do
  did al.safetensors match $pair -o al.safetensors --method $method --data digits --match-samples 700
done
did al.safetensors match $pair -o al.safetensors --method activation --data digits --uncentred --blend 0.5 --no-diagnosis
did al.safetensors match $pair -o al.safetensors --method activation
did "al.safetensors al.resume.safetensors" match $pair -o al.safetensors --method ste --data digits --ste-epochs 1
did al.safetensors match $pair -o al.safetensors --method ste --data digits --ste-epochs 1 --start signature --ste-pull 0.5 --ste-schedule constant --ste-adam

# Acting with an alignment; merging from file to file and in memory.
did al.safetensors match $pair -o al.safetensors
did moved.safetensors apply al.safetensors m1.safetensors -o moved.safetensors
did back.safetensors apply al.safetensors moved.safetensors -o back.safetensors --inverse
for more in "" "--lambda 0.3 --interpolation slerp" "--dtype bf16" "--group-lambda fc1=0.2 --lambda 0.7" "--align al.safetensors" "--repair weights" "--data digits --repair data" "--data digits --method activation --min-correlation 0.5"; do
  did m.safetensors merge $pair -o m.safetensors $more
done
for network in lstm transformer mobilenet; do
  did m.onnx merge goldens/networks/$network.onnx goldens/networks/$network.onnx -o m.onnx --lambda 0.25
  did "" check goldens/networks/$network.onnx
  did "" inspect goldens/networks/$network.onnx
done
did "" inspect m0.safetensors
did "" inspect al.safetensors
did "" inspect m0.safetensors --why fc2.weight:0

# Larger networks, trained and planted.
did al.safetensors match trained/resnet20-ln-1-seed{0,1}.safetensors -o al.safetensors
did al.safetensors match trained/vgg16-ln-0.25-seed{0,1}.safetensors -o al.safetensors
did m.safetensors merge trained/vgg16-ln-0.25-seed{0,1}.safetensors -o m.safetensors --align al.safetensors

# Many networks.
for method in rounds tree universe; do
  did m.safetensors merge-many m0.safetensors m1.safetensors m2.safetensors -o m.safetensors --method $method
done
did m.safetensors merge-many m0.safetensors m1.safetensors m2.safetensors -o m.safetensors --data digits --start identity --seed 4

# Curves.
did r.json barrier $pair --data digits --points 5 --samples 300 --method auto,weight,activation,ste --ste-epochs 1 -o r.json
did r.json barrier $pair --data digits --points 3 --samples 300 --align moved.safetensors -o r.json || true
did r.json barrier $pair --data digits --points 3 --samples 300 --repair weights -o r.json

# The pair of real networks with BatchNorm, in safetensors and as torch files.
if [ -d real ] && [ -d data/cifar10 ]; then
  real="--network resnet20-a"
  did al.safetensors match real/resnet20_{a,b}.th -o al.safetensors $real
  did al.safetensors match real/resnet20_{a,b}.th -o al.safetensors $real --data cifar10:data/cifar10 --match-samples 300
  did r.json barrier real/resnet20_{a,b}.th $real --data cifar10:data/cifar10 --points 3 --samples 300 --batch-norm-samples 1000 --repair data -o r.json
else
  echo "SKIPPED the real pair: no data; set ONEBASIN_TEST_DATA and ONEBASIN_CIFAR10" >&2
fi

# Experiments: what they find, not their pages, which tell the machine.
for name in fig6-counterexample a7-one-pass a11-steepest-descent fig2-mnist; do
  echo "reproduce $name" >&2
  "$program" -q --json reproduce $name --data data -o experiments > said.json
  find experiments/cache -type f ! -name done.json | LC_ALL=C sort | while read -r part; do
    printf '%s\t%s\t%s\n' "$(sha256sum < "$part" | cut -d' ' -f1)" "$part" "reproduce $name"
  done
done
