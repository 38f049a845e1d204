#!/usr/bin/env bash
# Compares shims of containerd in one interleaved run, as root: how long `ctr run --rm` and `ctr task exec` of `true` and a pod of
# the CRI take, the memory of an idle container's processes besides its own, and the processor time of an exec.
#
# figures.sh SHIM RUNTIME [ROUNDS]: the shim of this directory, our program for containerd's own shim, and how often.
# RUNC (default /usr/sbin/runc) and CRUN (none) name the runtimes to compare with. DIRECT names the program of
# examples/direct.rs, which speaks to the shims itself: what is containerd's own part does not count there. It needs the shim of
# containerd 2.
# Packages containerd (and its shim), runc, curl and busybox-static are needed. Everything happens in private namespaces.
set -euo pipefail
export LC_ALL=C

shim=$(realpath "$1") runtime=$(realpath "$2") rounds=${3:-20}
runc=${RUNC:-/usr/sbin/runc} crun=${CRUN:-}
if [ -z "${FIGURES_INSIDE:-}" ]; then
    FIGURES_INSIDE=$(mktemp -d)
    export FIGURES_INSIDE
    status=0
    unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
        bash "$0" "$shim" "$runtime" "$rounds" || status=$?
    rm -rf "$FIGURES_INSIDE"
    exit "$status"
fi
dir=$FIGURES_INSIDE
# Disks differ, and containerd waits for them in every call.
mount -t tmpfs tmpfs "$dir"
mount -t tmpfs -o mode=755 tmpfs /run
busybox ifconfig lo 127.0.0.1 up
mkdir "$dir/bin" "$dir/root" "$dir/root/bin" "$dir/image"
ln -s "$shim" "$dir/bin/containerd-shim-runtime-v2"
export PATH=$dir/bin:/usr/sbin:/usr/bin:/sbin:/bin

# An image of busybox, in the form of `docker save`.
cp /bin/busybox "$dir/root/bin/"
for name in sh true sleep; do ln -s busybox "$dir/root/bin/$name"; done
tar -C "$dir/root" -cf "$dir/image/layer.tar" .
sum=$(sha256sum "$dir/image/layer.tar" | cut -d' ' -f1)
# image NAME COMMAND
image() {
    printf '{"architecture":"amd64","os":"linux","config":{"Cmd":%s,"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$2" "$sum" >"$dir/image/config.json"
    echo '[{"Config":"config.json","RepoTags":["docker.io/library/'"$1"':latest"],"Layers":["layer.tar"]}]' >"$dir/image/manifest.json"
    tar -C "$dir/image" -cf "$dir/$1.tar" .
}
image bb '["sh"]'
image pause '["sleep","100000"]'

# The ways, and the options of `ctr run` for each.
ways=("this shim" "containerd's shim, runc" "containerd's shim, our program")
[ -z "$crun" ] || ways+=("containerd's shim, crun")
runtime_of() {
    case $1 in
    "this shim") ;;
    "containerd's shim, runc") echo "$runc" ;;
    "containerd's shim, crun") echo "$crun" ;;
    *) echo "$runtime" ;;
    esac
}
options() {
    case $1 in
    "this shim") echo --runtime io.containerd.runtime.v2 ;;
    *) echo --runc-binary "$(runtime_of "$1")" ;;
    esac
}

{
    printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "docker.io/library/pause:latest"\n'
    printf '  restrict_oom_score_adj = true\n  disable_apparmor = true\n  stream_server_address = "127.0.0.1"\n'
    printf '[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "way0"\n'
    for index in "${!ways[@]}"; do
        table="[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.way$index"
        case ${ways[index]} in
        "this shim") printf '%s]\n  runtime_type = "io.containerd.runtime.v2"\n' "$table" ;;
        *)
            printf '%s]\n  runtime_type = "io.containerd.runc.v2"\n' "$table"
            printf '%s.options]\n  BinaryName = "%s"\n' "$table" "$(runtime_of "${ways[index]}")"
            ;;
        esac
    done
} >"$dir/config.toml"
containerd --config "$dir/config.toml" --root "$dir/containerd" --state /run/containerd >"$dir/log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr image import "$dir/bb.tar" >/dev/null
ctr --namespace k8s.io image import "$dir/pause.tar" >/dev/null
# The CRI plugin knows an image a moment later.
sleep 2
image=docker.io/library/bb:latest

# Protocol buffers, as far as a pod needs them: text FIELD TEXT, of less than 128 bytes; number FIELD NUMBER.
byte() { printf '%b' "\\x$(printf %02x "$1")"; }
text() {
    byte $(($1 << 3 | 2))
    byte ${#2}
    printf %s "$2"
}
number() {
    byte $(($1 << 3))
    byte "$2"
}
# cri METHOD MESSAGE: gRPC is a POST over HTTP/2.
cri() {
    {
        printf '\0\0\0'
        if ((${#2} < 256)); then printf '\0'; else byte $((${#2} >> 8)); fi
        if ((${#2} % 256)); then byte $((${#2} & 255)); else printf '\0'; fi
        printf %s "$2"
    } >"$dir/request"
    curl --silent --http2-prior-knowledge --unix-socket /run/containerd/containerd.sock --header 'content-type: application/grpc' \
        --header 'te: trailers' --data-binary "@$dir/request" --dump-header "$dir/headers" --output "$dir/reply" \
        "http://localhost/runtime.v1.RuntimeService/$1"
    grep --quiet '^grpc-status: 0' "$dir/headers" || {
        grep '^grpc-' "$dir/headers" >&2
        return 1
    }
}
# pod NAME HANDLER: a pod in the host's network, whose message ends in no line feed.
pod() {
    local meta linux
    meta=$(text 1 "$1" && text 2 "$1" && text 3 default && number 4 1)
    linux=$(text 1 /figures && text 2 "$(text 1 "$(number 1 2 && number 2 1)")")
    cri RunPodSandbox "$(text 1 "$(text 1 "$meta" && text 3 "$dir" && text 8 "$linux")" && text 2 "$2")"
}

now() { echo $(($(date +%s%N) / 1000)); }

# timed FILE COMMAND...: adds the command's time in microseconds.
timed() {
    local file=$1 begin
    shift
    begin=$(now)
    "$@" </dev/null >/dev/null
    echo $(($(now) - begin)) >>"$file"
}

# The memory of a way's shims for each container, in kB: what several of them share is divided among them.
memory() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }
total() { for pid in ${shims[$1]}; do memory "$pid"; done | awk -v idle="$idle" '{ sum += $1 } END { printf "%d", sum / idle }'; }
# Processor time of a process and of the children that it has waited for, in hundredths of a second.
ticks() { awk '{ print $14 + $15 + $16 + $17 }' "/proc/$1/stat"; }

# What containerd and its client do for a container that never has a task: its snapshot, its metadata, their end.
without_task() {
    ctr container create "$image" "$1" true
    ctr container delete "$1"
}

number=0
for ((round = 0; round < rounds; round++)); do
    for index in "${!ways[@]}"; do
        number=$((number + 1))
        # shellcheck disable=SC2046 # words
        timed "$dir/run.$index" ctr run --rm $(options "${ways[index]}") "$image" "r$number" true
    done
    timed "$dir/run.alone" without_task "n$round"
    for index in "${!ways[@]}"; do
        timed "$dir/pod.$index" pod "pod$round-$index" "way$index"
        id=$(grep --text --only-matching '[0-9a-f]\{64\}' "$dir/reply")
        cri StopPodSandbox "$(text 1 "$id")"
        cri RemovePodSandbox "$(text 1 "$id")"
    done
    timed "$dir/pod.alone" cri Version "$(text 1 v1)"
done
idle=10
for ((each = 0; each < idle; each++)); do
    for index in "${!ways[@]}"; do
        # shellcheck disable=SC2046 # words
        ctr run --detach $(options "${ways[index]}") "$image" "idle$index-$each" sleep 1000 </dev/null
    done
done
sleep 2
# The shims of a way; the first is the one of the container that gets the execs.
declare -A shims
for index in "${!ways[@]}"; do
    for ((each = 0; each < idle; each++)); do
        shims[$index]+=" $(pgrep --full -- "-id idle$index-$each -address")"
    done
    total "$index" >"$dir/memory.$index"
    # shellcheck disable=SC2086 # words
    ticks ${shims[$index]} >"$dir/ticks.$index"
done
for ((round = 0; round < rounds; round++)); do
    for index in "${!ways[@]}"; do
        number=$((number + 1))
        timed "$dir/exec.$index" ctr task exec --exec-id "e$number" "idle$index-0" true
    done
    timed "$dir/exec.alone" ctr task list
done
sleep 2
median() { sort -n "$1" | awk '{ all[NR] = $1 } END { printf "%.1f", all[int((NR + 1) / 2)] / 1000 }'; }
echo "| way | \`ctr run --rm … true\` | a pod | \`ctr task exec … true\` | memory of an idle container's shim | processor time of a shim and its children for an exec |"
echo "|---|---|---|---|---|---|"
for index in "${!ways[@]}"; do
    # shellcheck disable=SC2086 # words
    spent=$(($(ticks ${shims[$index]}) - $(cat "$dir/ticks.$index")))
    printf '| %s | %s ms | %s ms | %s ms | %s kB | %s ms |\n' "${ways[index]}" "$(median "$dir/run.$index")" "$(median "$dir/pod.$index")" \
        "$(median "$dir/exec.$index")" "$(cat "$dir/memory.$index")" \
        "$(awk -v spent="$spent" -v rounds="$rounds" 'BEGIN { printf "%.1f", spent * 10 / rounds }')"
done
printf '| containerd and its client alone: `container create` and `delete`; `Version`; `task list` | %s ms | %s ms | %s ms | | |\n' \
    "$(median "$dir/run.alone")" "$(median "$dir/pod.alone")" "$(median "$dir/exec.alone")"
ctr version | tail -4 | sed -n 1,2p
"$runc" --version | sed -n 1p
[ -z "$crun" ] || "$crun" --version | sed -n 1p
ctr task list --quiet | xargs --max-args=1 ctr task kill --signal KILL

if [ -n "${DIRECT:-}" ]; then
    kill %1
    wait
    arguments=()
    for way in "${ways[@]}"; do
        case $way in
        "this shim") arguments+=("$way=$shim") ;;
        *) arguments+=("$way=$(command -v containerd-shim-runc-v2),$(runtime_of "$way")") ;;
        esac
    done
    echo
    TMPDIR=$dir "$DIRECT" "$rounds" "${arguments[@]}"
fi
