#!/usr/bin/env bash
# Starts the fleet for a person: DEBUG, everything on this machine, the load balancer on port 8000 (PORT).
set -euo pipefail
cd "$(dirname "$0")/../.."

DATA=${DATA_DIR:-$PWD/data/nats}
PORT=${PORT:-8000}
mkdir -p "$DATA"
# One key for all gateways; made at the first start, kept with the data.
if [ -z "${SECRET_KEY:-}" ]; then
    [ -s "$DATA/development.key" ] || (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$DATA/development.key")
    SECRET_KEY=$(cat "$DATA/development.key")
fi
export SECRET_KEY DEBUG=${DEBUG:-true}

cat <<BOX
SafeShipper Realtime on NATS (DEBUG): nats-server, two gateways, two workers, a load balancer

  Chat as a driver      http://localhost:$PORT/chat?as=driver-1
  Chat as a dispatcher  http://localhost:$PORT/chat?as=dispatcher-1
  Who runs where        $DATA/fleet.json   (kill -9 any of them: it comes back, nothing is lost)
  Logs and data         $DATA
  Stop                  Ctrl-C

BOX
exec python3 deploy/tools/fleet.py --data "$DATA" --balancer "$PORT" --bin target/release
