#!/bin/sh
# The first process of the image `tiny`. It finds the devices, then runs the command that the host appended to the initrd
# (/ringfence/command), or a shell on the console when there is none, and switches the machine off. How it talks with the host:
# packages/images/README.md, "The guest protocol".
#
# Boot time is what this file is written for. It is run by busybox's ash; a new process costs the guest about a million instructions,
# so builtins do what they can: `read`, `echo`, globs, `[`. Words of its own go to the kernel's log and nowhere else.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root
umask 022

mount -t devtmpfs devtmpfs /dev
exec >/dev/kmsg 2>&1
cp -a /etc/dev/. /dev/ # the folders pts and shm, the links fd, stdin, stdout and stderr
mount -a

say() { echo "<6>ringfence: $*" >/dev/kmsg; }

# Loads the drivers of the devices on the virtio bus. The other modules come by themselves: mounting a file system asks for them.
load_drivers() {
  local device id drivers
  for device in /sys/bus/platform/devices/*.virtio_mmio; do
    [ -e "$device" ] && modprobe virtio_mmio
    break
  done
  for device in /sys/bus/virtio/devices/*/device; do
    [ -e "$device" ] && read -r id <"$device" || continue
    case $id in # Virtual I/O Device (VIRTIO) 1.3, chapter 5
      0x0001) drivers="$drivers virtio_net" ;;
      0x0002) drivers="$drivers virtio_blk" ;;
      0x0004) drivers="$drivers virtio_rng" ;;
      0x0005) drivers="$drivers virtio_balloon" ;;
    esac
  done
  [ -z "$drivers" ] || modprobe -a $drivers
}

# Sets $stdin, $stdout, $stderr and $control to the ports the host gave these names, and $agent if the agent has one. Fails when control is
# not among them.
find_ports() {
  local port name
  for port in /sys/class/virtio-ports/*; do
    [ -e "$port/name" ] && read -r name <"$port/name" || continue
    case $name in
      ringfence.stdin) stdin=/dev/${port##*/} ;;
      ringfence.stdout) stdout=/dev/${port##*/} ;;
      ringfence.stderr) stderr=/dev/${port##*/} ;;
      ringfence.control) control=/dev/${port##*/} ;;
      org.ringfence.agent.0) agent=1 ;;
    esac
  done
  [ -n "$control" ] && { [ "$mode" = interactive ] || [ -n "$stdin" -a -n "$stdout" -a -n "$stderr" ]; }
}

# The host announces its ports while the kernel boots; they are there already but for a host that is slow. Gives up after 10 s.
wait_for_ports() {
  local try=0
  until find_ports; do
    try=$((try + 1))
    [ $try -lt 100 ] || return 1
    sleep 0.1
  done
}

# Brings the first network card up: with what the host says that it is to have, which saves asking, else by asking with DHCP.
set_up_network() {
  [ -e /sys/class/net/eth0 ] || return
  if [ -n "$network" ]; then
    set -- $network
    ifconfig eth0 "$1" netmask "$2" up
    route add default gw "$3"
    echo "nameserver $4" >/etc/resolv.conf
  else
    udhcpc -n -q -t 3 -T 1 -x "hostname:$hostname"
  fi
}

# Runs "$@" between the ports and sets $status. Between the command and a port stands a pipe and a `cat`: a port can be open only once,
# and programs open /dev/stdin and /dev/stderr anew. A here-document is such a pipe (ash writes a short one into a pipe and keeps its
# reading end), and /proc/self/fd opens the writing end; so this process holds both and nothing is forked to make it.
run_between_ports() {
  local feed out err
  exec 3<<-END
	END
  exec 4>/proc/self/fd/3
  cat <"$stdin" >&4 3<&- 9>&- &
  feed=$!
  exec 4>&-

  exec 5<<-END
	END
  exec 6>/proc/self/fd/5
  cat <&5 >"$stdout" 3<&- 6>&- 9>&- &
  out=$!
  exec 5<&-

  exec 7<<-END
	END
  exec 8>/proc/self/fd/7
  cat <&7 >"$stderr" 3<&- 6>&- 8>&- 9>&- &
  err=$!
  exec 7<&-

  if command -v -- "$1" >/dev/null; then
    (exec "$@") <&3 >&6 2>&8 3<&- 6>&- 8>&- 9>&-
    status=$?
  else
    echo "$1: not found" >&8
    status=127
  fi
  exec 3<&- 6>&- 8>&-
  end_orphans "$feed" "$out" "$err"
  wait "$out" "$err" # each ends when all that was written has gone to its port
}

# Ends what the command left running, for it may hold the pipes open: whatever is a child of this process, but for "$@".
end_orphans() {
  local round children child found
  for round in 1 2 3 4 5 6 7 8 9 10; do
    found=
    read -r children </proc/1/task/1/children
    for child in $children; do
      case " $* " in
        *" $child "*) ;;
        *) kill -9 "$child" && found=1 ;;
      esac
    done 2>/dev/null
    [ -n "$found" ] || return
    jobs >/dev/null # buries the dead
  done
}

# Runs "$@", or a login shell, on terminal $1 as its session's own, and sets $status.
run_on_terminal() {
  local terminal=/dev/$1
  shift
  [ $# -gt 0 ] || set -- sh -l
  setsid -c "$@" <"$terminal" >"$terminal" 2>&1 9>&-
  status=$?
}

# Leaves no mounted disk behind that is not written to the end. A folder of the host is the host's again once everything is written.
unmount_disks() {
  local device folder type rest shared=
  while read -r device folder type rest; do
    case $type in
      rootfs | tmpfs | ramfs | devtmpfs | devpts | proc | sysfs) ;;
      virtiofs) shared=1 ;;
      *)
        sync
        umount -a -r -f
        return
        ;;
    esac
  done </proc/mounts
  [ -z "$shared" ] || sync
}

# Mounts a folder of the host; /ringfence/command calls it for each: its number, ro or rw, its tag, where. Sets $unshared if that fails.
share() {
  mkdir -p "$4" && mount -t virtiofs -o "$2" "$3" "$4" || unshared=${unshared:-$1}
}

# Lets the host's agent do what the host asks, for as long as the machine runs. What it starts belongs to the host, not to the console.
serve_agent() {
  while :; do
    ringfence-agent
    sleep 1
  done
}

switch_off() {
  echo o >/proc/sysrq-trigger || poweroff -f # the first needs no process, but /proc
  while :; do sleep 1; done
}

mode=console hostname=tiny network='' status=0
stdin='' stdout='' stderr='' control='' agent='' unshared=''
[ ! -e /ringfence/command ] || . /ringfence/command
echo "$hostname" >/proc/sys/kernel/hostname
ip link set lo up
load_drivers
case $mode in
  command | agent) set_up_network ;; # what runs may want it at once
  *) set_up_network & ;;
esac

if [ "$mode" = agent ]; then
  [ -z "$unshared" ] || echo "$unshared" >/run/ringfence-unshared # the host reads it there
  serve_agent
fi
if [ "$mode" = console ]; then
  find_ports
elif ! wait_for_ports; then
  say 'the host gave no ports for the command, so there is a shell on the console'
  mode=console
fi
[ -z "$agent" ] || serve_agent 9>&- &
if [ "$mode" != console ]; then
  exec 9>"$control"
  # This waits until the host has connected the port. The host connects control last, so the others are connected too, and reading from
  # stdin waits for data instead of finding nobody there.
  echo ready >&9
  if [ -n "$unshared" ]; then
    echo "unshared $unshared" >&9
    switch_off
  fi
fi
case $mode in
  command)
    run_between_ports "$@"
    ;;
  interactive)
    run_on_terminal hvc0 "$@"
    ;;
  console)
    read -r terminals </sys/class/tty/console/active # the last is the one of /dev/console
    run_on_terminal "${terminals##* }"
    ;;
esac

unmount_disks
if [ "$mode" != console ]; then
  echo "exit $status" >&9
fi
switch_off
