#!/bin/sh
# One run on several hosts. On each of them, in its clone of this repository:
#
#     FIRST=10.0.0.1 HOSTS=2 HOST=0 PROCESSES=8 sh docs/clusters/hosts.sh
#
# FIRST is the address of host 0, HOST the number of this one, PROCESSES how many train on each: one for each GPU.
# HOSTS times PROCESSES is a power of two and at most train.shards. Set NETWORK to this host's network interface if it
# has several. The same images, params and code must be on all hosts; the first one writes the results.
set -eu
: "${FIRST:?}" "${HOSTS:?}" "${HOST:?}" "${PROCESSES:=1}" "${PORT:=29500}" "${TRIES:=5}"
if [ -n "${NETWORK:-}" ]; then
    export GLOO_SOCKET_IFNAME="$NETWORK" NCCL_SOCKET_IFNAME="$NETWORK"
fi

python -c 'import socket, sys; socket.gethostbyname(sys.argv[1])' "$FIRST" 2> /dev/null || {
    echo "hosts.sh: there is no host $FIRST; correct FIRST" >&2
    exit 2
}
[ "$HOST" = 0 ] || echo "hosts.sh: waits for the first host at $FIRST:$PORT"
export TORCH_CPP_LOG_LEVEL=ERROR  # a line for each second of waiting otherwise

dvc repro prepare

# The first process runs under DVC, which notes what came out. The others join it.
rank='if [ "$RANK" = 0 ]; then exec dvc repro; else exec python -m stages.train; fi'
# When one process or host is lost, torchrun ends on all of them, and the loop starts it again.
while ! torchrun --nnodes="$HOSTS" --node-rank="$HOST" --nproc-per-node="$PROCESSES" --master-addr="$FIRST" \
    --master-port="$PORT" --no-python sh -c "$rank"; do
    TRIES=$((TRIES - 1))
    [ "$TRIES" -gt 0 ] || exit 1
    echo "hosts.sh: the run ended on this host, as said above torchrun's report; it begins again in 10 s ($TRIES left)"
    sleep 10
done
