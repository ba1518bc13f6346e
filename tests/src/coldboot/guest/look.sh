#!/bin/bash
# Runs in the virtual machine. Each line it tells begins with a mark and the seconds since the kernel started.
set -euo pipefail

read -r port </usr/lib/coldboot/port
story=$(grep -o 'coldboot=[a-z]*' /proc/cmdline | cut -d= -f2)

tell() { printf 'COLDBOOT %s %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }
in_time() { test "$(cut -d. -f1 /proc/uptime)" -lt 300; }
pulses() { grep -c '"line":"relay","level":true' /run/board/edges.jsonl || true; }
status() {
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 0
    printf 'GET /v1/status HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$port" >&3
    timeout 10 tail -n 1 <&3 || true
}

# The power goes then: whoever watches the console ends the machine.
finish() {
    tell "end"
    sleep infinity
}

# Waits until the screen shows the lane at rest.
rest() {
    while in_time; do
        now=$(status)
        case $now in
            *'"kind":"idle"'*'"camera":"ok","gate_io":"ok"'*'"not_deciding":null'*) return ;;
        esac
        sleep 0.2
    done
    tell "never-at-rest $now"
    journalctl --no-pager --lines 40 --unit gate-agent --unit gate-io
    finish
}

tell "networks $(ls /sys/class/net | xargs)"
tell "date $(date --utc +%s)"
tell "time-service $(test -e /run/systemd/timesync/synchronized && echo there || echo none)"
rest
tell "ready $now"

for picture in "/usr/lib/coldboot/pictures/$story"/*.png; do
    name=$(basename "$picture" .png)
    before=$(pulses)
    shown=$(grep -o '"presentation":[0-9]*' <<<"$now" || true)
    cp "$picture" "/run/coldboot/$name.part"
    tell "held-up $name"
    mv "/run/coldboot/$name.part" "/run/coldboot/$name.png"
    while in_time; do
        now=$(status)
        case $now in *"$shown,"* | *'"kind":"wait"'* | '') ;; *) break ;; esac
        sleep 0.1
    done
    tell "answer $name $now"
    # An admission's edge follows its record, and after a refusal none may follow.
    sleep 2
    tell "pulses $name $(($(pulses) - before))"
    tell "edge $name $(grep '"line":"relay","level":true' /run/board/edges.jsonl | tail -n 1)"
    rest
    # The lane forgets a code when it has been out of view for a while.
    sleep 6
done

tell "journal $(setpriv --reuid gate --regid gate --clear-groups gate-agent journal verify --json)"
tell "units $(systemctl is-active gate-agent gate-io | xargs), restarts $(systemctl show -P NRestarts gate-agent gate-io | xargs)"
finish
