#!/usr/bin/env bash
# What has never run on an NVIDIA GPU, in order of value, in at most ten minutes.
#
#   cargo build --release -p onebasin-cli && cargo test --release --no-run -p onebasin-cuda --test device
#   benches/gpu.sh
#
# Needs the driver, NVRTC and cuBLAS of CUDA 12 or 13; looks for them where the linker, the toolkit and `pip install
# nvidia-cuda-nvrtc nvidia-cublas` put them. Builds what it needs with cargo, which takes some of the ten minutes; where
# there is no Rust, take programs along that were built elsewhere:
#
#   ONEBASIN         the program (target/release/onebasin)
#   ONEBASIN_TESTS   the tests of the device (target/release/deps/device-*); without them that step is skipped
#   ONEBASIN_CIFAR10 the binary batches of CIFAR-10, for training; without them digits in 32 × 32 pixels
#   ONEBASIN_SECONDS how long it may take: 570
#
# Results go to $OUT, or gpu-results/: summary.md to read, summary.tsv (step, exit status, seconds, last line of the log),
# times.tsv (what, device, seconds) and steps.log, all logs one after the other. Networks and single logs are in
# target/gpu/. A step that fails or runs out of time stops none of the others.
#
# Exit status: 0 every step passed, 1 one did not, 3 there is no GPU to be used.
# shellcheck disable=SC2329 # steps are called by name
set -uo pipefail
cd "$(dirname "$0")/.."

: "${OUT:=gpu-results}" "${ONEBASIN_SECONDS:=570}" "${ONEBASIN_TESTS:=}"
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd)
work=${CARGO_TARGET_DIR:-target}/gpu
export OUT ONEBASIN ONEBASIN_TESTS

# ---- what steps are made of

# Runs the program and notes the seconds: timed WHAT DEVICE ARGUMENTS...
timed() {
  local what=$1 device=$2 start end status=0
  shift 2
  start=$(date +%s%N)
  "$ONEBASIN" "$@" --device "$device" || status=$?
  end=$(date +%s%N)
  [ "$status" = 0 ] || return "$status"
  awk -v what="$what" -v device="$device${precision:+ $precision}" -v ns=$((end - start)) \
    'BEGIN { printf "%s\t%s\t%.2f\n", what, device, ns / 1e9 }' | tee -a "$OUT/times.tsv"
}

# Numbers of a JSON file by a pattern of its key, one a line.
numbers() { tr -d ' \n' <"$1" | grep -oE "\"$2\":\[?[-0-9.e,+]+" | sed 's/^[^:]*:\[\{0,1\}//' | tr ',' '\n' | sed '/^$/d'; }

# Fails if numbers differ by more than TOLERANCE of the largest: near WHAT TOLERANCE FILE FILE
near() {
  paste "$3" "$4" | awk -v what="$1" -v most="$2" '
    NF != 2 { bad = 1 }
    { d = $1 - $2; d = d < 0 ? -d : d; if (d > off) off = d; a = $1 < 0 ? -$1 : $1; if (a > size) size = a; n++ }
    END { printf "%s: %d numbers, off by %.3g of %.3g\n", what, n, off, size; exit bad || !n || off > most * size }'
}

# Expects a failure and a word: refuses STATUS WORD COMMAND...
refuses() {
  local expected=$1 word=$2 said status=0
  shift 2
  said=$("$@" 2>&1) || status=$?
  printf 'status %s, expected %s\n%s\n' "$status" "$expected" "$(tail -n 5 <<<"$said")"
  [ "$status" = "$expected" ] && grep -q "$word" <<<"$said"
}

data() {
  if [ -d "${ONEBASIN_CIFAR10:-}" ]; then echo "cifar10:$ONEBASIN_CIFAR10"; else echo digits@32; fi
}

# ---- the steps; each runs in a shell of its own, in target/gpu, and ends at the first failure

step_machine() {
  nvidia-smi || true
  nvcc --version || true
  lscpu | grep -E '^(Model name|CPU\(s\))' || true
  echo "LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
  ldconfig -p | grep -E 'lib(cuda|nvrtc|cublas)\.so' || true
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no nvidia-smi"
}

step_build() {
  cd "$ROOT"
  cargo build --release -p onebasin-cli
  cargo test --release --no-run -p onebasin-cuda --test device
}

# The driver, a context, NVRTC, cuBLAS, transfers, every kernel of training.
step_open() {
  timed "first use: mlp:24x2" cuda -q train mlp:24x2 --data digits --share 0.05 --epochs 1 -o open.safetensors
  "$ONEBASIN" inspect open.safetensors --json | tr ',' '\n' | grep -m 1 -o 'cuda:[^"\\]*'
}

step_tests() {
  [ -x "$ONEBASIN_TESTS" ] || { echo "skipped: ONEBASIN_TESTS names no program"; exit 77; }
  "$ONEBASIN_TESTS" _gpu --nocapture --test-threads 4 2>&1 | tee tests.txt
  if grep SKIPPED tests.txt; then return 1; fi
  grep '^test result' tests.txt
}

# Perceptrons to compare: trained on the processor, and wide ones that are nearly as drawn.
step_networks() {
  for seed in 0 1; do
    timed "train mlp:512x3, 10 epochs" cpu -q train mlp:512x3 --data digits --seed "$seed" --epochs 10 -o "mlp$seed.safetensors"
    "$ONEBASIN" -q train mlp:4096x3 --data digits --seed "$seed" --epochs 1 --share 0.01 -o "wide$seed.safetensors"
    "$ONEBASIN" -q train resnet20-ln:4 --data digits@32 --recipe resnet20 --batch 50 --share 0.01 --epochs 1 --seed "$seed" \
      -o "res$seed.safetensors"
  done
}

# ⟨A, π(B)⟩ is computed in f64 on the processor either way, so equal alignments have equal ones.
grams() {
  for device in cuda cpu; do
    timed "match $1, $2" "$device" -q match "$1"0.safetensors "$1"1.safetensors -o "$device.safetensors" --method "$2" \
      --no-diagnosis "${@:4}" --report "$device.json"
  done
  for device in cuda cpu; do numbers "$device.json" objective | sort -g | tail -n 1 >"$device.numbers"; done
  near "⟨A, π(B)⟩" "$3" cpu.numbers cuda.numbers
}
step_grams() { grams mlp weight 0; }
step_grams_spectral() { grams mlp spectral 0; }
step_grams_frank_wolfe() { grams mlp frank-wolfe 1e-3; }
step_grams_residual() { grams res weight 1e-3; }
# Networks that share nothing: a rounding decides between alignments that are as good.
step_grams_wide() { grams wide weight 1e-3 --start identity --restarts 1; }

forward() {
  for device in cuda cpu; do
    timed "barrier $1" "$device" -q barrier "$1"0.safetensors "$1"1.safetensors --data "$2" --points 5 --method weight --start \
      identity --restarts 1 --batch-norm-samples 0 "${@:3}" -o "$device.json"
  done
  for device in cuda cpu; do numbers "$device.json" loss >"$device.numbers"; done
  near losses 1e-3 cpu.numbers cuda.numbers
}
step_forward() { forward mlp digits; }
step_forward_residual() { forward res digits@32 --samples 500; }

train() {
  local network=$1 device=$2 precision=$3
  timed "train $network, $4 of $(data | cut -d: -f1)" "$device" train "$network" --data "$(data)" --recipe resnet20 \
    --epochs 2 --share "$4" --batch 100 --precision "$precision" -o "train-$precision.safetensors"
}
step_train() {
  timed "train mlp:512x3, 10 epochs" cuda train mlp:512x3 --data digits --epochs 10 -o there.safetensors
}
step_train_f32() { train resnet20-ln:4 cuda f32 0.1; }
step_train_bf16() { train resnet20-ln:4 cuda bf16 0.1; }
step_train_cpu() { train resnet20-ln:4 cpu f32 0.1; }
step_train_wide_f32() { train resnet20-ln:32 cuda f32 0.1; }
step_train_wide_bf16() { train resnet20-ln:32 cuda bf16 0.1; }

# Whether cuBLAS sums the same way every time, and a run that is stopped goes on to the same bits.
step_same_bytes() {
  local line="-q train resnet20-bn:1 --data digits@32 --batch 100 --share 0.05 --device cuda --checkpoint-every 1"
  # shellcheck disable=SC2086 # the line is cut at its blanks
  for run in "--epochs 2 -o one" "--epochs 2 -o two" "--epochs 1 -o halves" "--epochs 2 --resume -o halves"; do
    "$ONEBASIN" $line $run.safetensors
  done
  cmp one.safetensors two.safetensors
  echo "trained twice: the same bytes"
  cmp one.safetensors halves.safetensors
  echo "trained twice, and stopped in the middle: the same bytes"
}

step_experiment_f32() { timed "reproduce fig3-mnist" cuda reproduce fig3-mnist --output experiment-f32; }
step_experiment_bf16() {
  precision=bf16 timed "reproduce fig3-mnist" cuda reproduce fig3-mnist --precision bf16 --output experiment-bf16
}
step_experiment_cpu() { timed "reproduce fig3-mnist" cpu reproduce fig3-mnist --output experiment-cpu; }

# Every value of a batch is kept: some terabytes.
step_memory_runs_out() {
  refuses 1 "has no room for" "$ONEBASIN" -q train resnet20-ln:32 --data digits@32 --recipe resnet20 --batch 10000 --epochs 1 \
    --device cuda -o none.safetensors
  [ ! -e none.safetensors ]
}

step_two_processes() {
  local line="-q train mlp:512x3 --data digits --epochs 2 --device cuda -o" first
  # shellcheck disable=SC2086 # the line is cut at its blanks
  "$ONEBASIN" $line left.safetensors &
  first=$!
  # shellcheck disable=SC2086
  "$ONEBASIN" $line right.safetensors
  wait "$first"
  cmp left.safetensors right.safetensors
  echo "two processes on one GPU: the same bytes"
}

step_hidden_gpu() {
  CUDA_VISIBLE_DEVICES='' refuses 1 "no NVIDIA GPU can be used" \
    "$ONEBASIN" -q match mlp0.safetensors mlp1.safetensors -o none.safetensors --device cuda
}

step_sanitizer() {
  command -v compute-sanitizer >/dev/null || { echo "skipped: no compute-sanitizer"; exit 77; }
  compute-sanitizer --error-exitcode 9 "$ONEBASIN" -q train mlp:24x2 --data digits --share 0.01 --epochs 1 --device cuda \
    -o sane0.safetensors
  compute-sanitizer --error-exitcode 9 "$ONEBASIN" -q train resnet20-bn:0.25 --data digits@32 --recipe resnet20 --batch 10 \
    --share 0.002 --epochs 1 --device cuda -o sane1.safetensors
  compute-sanitizer --error-exitcode 9 "$ONEBASIN" -q match open.safetensors sane0.safetensors --method weight --device cuda \
    -o sane2.safetensors
}

if [ "${1:-}" = --step ]; then
  set -e
  cd "$work"
  "step_$2"
  exit
fi

# ---- libraries

# Folders that hold what CUDA programs load, besides those that the linker knows.
shopt -s nullglob
found=
for folder in /usr/local/nvidia/lib64 /usr/local/cuda*/lib64 /usr/local/cuda*/compat /usr/lib/wsl/lib \
  /usr/lib*/python3*/site-packages/nvidia/*/lib /usr/local/lib/python3*/*-packages/nvidia/*/lib \
  "$HOME"/.local/lib/python3*/site-packages/nvidia/*/lib /opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib \
  "${VIRTUAL_ENV:-/nowhere}"/lib/python3*/site-packages/nvidia/*/lib; do
  libraries=("$folder"/libcuda.so* "$folder"/libnvrtc.so* "$folder"/libcublas.so*)
  [ ${#libraries[@]} = 0 ] || found+=:$folder
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}$found"

driver() {
  local folder files
  while IFS= read -r -d : folder; do
    files=("${folder:-/nowhere}"/libcuda.so*)
    [ ${#files[@]} = 0 ] || return 0
  done <<<"$LD_LIBRARY_PATH:"
  ldconfig -p 2>/dev/null | grep -q 'libcuda\.so' || nvidia-smi -L >/dev/null 2>&1
}

# ---- running

rm -rf "$work" && mkdir -p "$work/logs"
work=$(cd "$work" && pwd)
ROOT=$PWD
export ROOT
printf 'step\tstatus\tseconds\tlast line\n' >"$OUT/summary.tsv"
: >"$OUT/times.tsv"
: >"$OUT/steps.log"
failed=0

# run STEP LIMIT: in no more than LIMIT seconds, nor than there are left.
run() {
  local name=$1 limit=$2 left=$((ONEBASIN_SECONDS - SECONDS)) start=$SECONDS status=0 log=$work/logs/$1.log last
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    echo "no time was left" >"$log"
    status=77
  else
    timeout -k 5 "$limit" bash "$ROOT/benches/gpu.sh" --step "$name" >"$log" 2>&1 </dev/null || status=$?
  fi
  case $status in
    0 | 77) ;;
    *) failed=1 ;;
  esac
  [ "$status" != 124 ] || echo "stopped after $limit s" >>"$log"
  last=$(tr '\r\t' '\n ' <"$log" | sed '/^[[:space:]]*$/d' | tail -n 1)
  printf '%s\t%s\t%s\t%s\n' "$name" "$status" $((SECONDS - start)) "$last" | tee -a "$OUT/summary.tsv"
  { echo "==== $name: status $status"; tail -n 500 "$log"; } >>"$OUT/steps.log"
  return "$status"
}

# Writes summary.md: summarise SENTENCE
summarise() {
  {
    printf '# onebasin on an NVIDIA GPU\n\n%s\n\n' "$1"
    echo "$(date -u +%Y-%m-%d), $(git rev-parse --short HEAD 2>/dev/null || echo 'no git'), $SECONDS s."
    printf '\n| step | found | s | last line |\n|---|---|---|---|\n'
    tail -n +2 "$OUT/summary.tsv" | awk -F '\t' '{
      said = $2 == 0 ? "passed" : $2 == 77 ? "skipped" : $2 == 124 || $2 == 137 ? "out of time" : "**failed** (" $2 ")"
      gsub(/\|/, "\\|", $4); printf "| %s | %s | %s | `%s` |\n", $1, said, $3, substr($4, 1, 160) }'
    printf '\n| what | on | s | of the processor |\n|---|---|---|---|\n'
    awk -F '\t' '{ if ($2 ~ /^cpu/) cpu[$1] = $3; what[NR] = $1; on[NR] = $2; s[NR] = $3 }
      END { for (i = 1; i <= NR; i++) {
        ratio = cpu[what[i]] > 0 && on[i] !~ /^cpu/ ? sprintf("%.2f", s[i] / cpu[what[i]]) : ""
        printf "| %s | %s | %s | %s |\n", what[i], on[i], s[i], ratio } }' "$OUT/times.tsv"
    printf '\nSeconds are of whole commands: the driver starting, kernels being compiled and files are in them.\n'
  } >"$OUT/summary.md"
}

none() {
  summarise "**No GPU can be used on this machine.** $1"
  echo "no GPU can be used: $1; see $OUT/summary.md" >&2
  exit 3
}

if ! driver; then
  run machine 20 || true
  none "The driver (libcuda) was not found."
fi
run machine 20 || true
if [ -z "${ONEBASIN:-}" ]; then
  run build 330 || none "The program could not be built, and ONEBASIN names none."
  target=${CARGO_TARGET_DIR:-target}/release
  ONEBASIN=$target/onebasin
  if [ -z "$ONEBASIN_TESTS" ]; then
    for file in "$target"/deps/device-*; do
      if [ -x "$file" ] && [ "$file" -nt "$ONEBASIN_TESTS" ]; then ONEBASIN_TESTS=$file; fi
    done
  fi
fi
ONEBASIN=$(realpath "$ONEBASIN")
[ -z "$ONEBASIN_TESTS" ] || ONEBASIN_TESTS=$(realpath "$ONEBASIN_TESTS")
if ! run open 60 && grep -q "no NVIDIA GPU can be used" "$work/logs/open.log"; then
  none "$(grep -m 1 -o 'no NVIDIA GPU.*' "$work/logs/open.log")"
fi
while read -r name limit; do
  run "$name" "$limit" || true
done <<'STEPS'
tests 120
networks 60
grams 40
forward 40
train 40
train_f32 60
train_bf16 60
same_bytes 60
train_cpu 60
forward_residual 60
grams_wide 90
train_wide_f32 90
train_wide_bf16 60
experiment_f32 90
grams_spectral 40
grams_frank_wolfe 60
grams_residual 60
memory_runs_out 60
two_processes 30
hidden_gpu 10
experiment_bf16 60
experiment_cpu 90
sanitizer 90
STEPS
if [ "$failed" = 0 ]; then summarise "Every step that ran passed."; else summarise "**Not every step passed.**"; fi
cat "$OUT/summary.md"
exit "$failed"
