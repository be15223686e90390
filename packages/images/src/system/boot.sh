#!/bin/sh
# The first process of the image `debian`, in the initrd: it loads the drivers of the devices that are there, mounts the disk, takes what
# the host appended to the initrd (/ringfence) over into the new root's /run, and hands over to systemd.
#
# Boot time is what this file is written for; see tiny/init.sh.

export PATH=/usr/sbin:/usr/bin
umask 022

mount -t devtmpfs devtmpfs /dev
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
exec >/dev/kmsg 2>&1

say() { echo "<3>ringfence: $*" >/dev/kmsg; }

# Ends the machine: as a panic it is told on the console, and the host sees the reset.
give_up() {
  say "$*"
  echo c >/proc/sysrq-trigger
}

for device in /sys/bus/platform/devices/*.virtio_mmio; do
  [ -e "$device" ] && modprobe virtio_mmio
  break
done
drivers=
for device in /sys/bus/virtio/devices/*/device; do
  [ -e "$device" ] && read -r id <"$device" || continue
  case $id in # Virtual I/O Device (VIRTIO) 1.3, chapter 5
    0x0001) drivers="$drivers virtio_net" ;;
    0x0002) drivers="$drivers virtio_blk" ;;
    0x0004) drivers="$drivers virtio_rng" ;;
    0x0005) drivers="$drivers virtio_balloon" ;;
  esac
done
modprobe -a $drivers ext4

root=/dev/vda
read -r words </proc/cmdline
for word in $words; do
  case $word in
    root=*) root=${word#root=} ;;
  esac
done
try=0
until [ -b "$root" ]; do
  try=$((try + 1))
  [ $try -lt 100 ] || give_up "there is no disk $root"
  sleep 0.1
done
mount -t ext4 -o noatime "$root" /mnt || give_up "the disk $root cannot be mounted"

mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /mnt/run
mkdir /mnt/run/ringfence
if [ -e /ringfence ]; then
  [ ! -e /ringfence/root ] || cp -a /ringfence/root/. /mnt/
  [ ! -e /ringfence/user-data ] || cp -a /ringfence/user-data /mnt/run/ringfence/
fi
# systemd looks at each start whether it could bind sockets to addresses with BPF, for settings that nobody here uses (SocketBindAllow=,
# RestrictNetworkInterfaces=): a fifth of all that happens until it is up is the kernel verifying that program. It finds no library for it.
without=/run/ringfence/without
mkdir "/mnt$without"
: >"/mnt$without/libbpf.so.1"
case " $words " in
  *' ringfence.bpf '*) without= ;;
esac
# What the host says that the card is to have: it saves asking, and the network is there before anybody wants it.
if [ -e /ringfence/network ] && [ -e /sys/class/net/eth0 ]; then
  read -r address netmask gateway server </ringfence/network
  ifconfig eth0 "$address" netmask "$netmask" up
  route add default gw "$gateway"
  echo "nameserver $server" >/mnt/run/ringfence/resolv.conf
  : >/mnt/run/ringfence/network
fi
umount /proc /sys
mount -o move /dev /mnt/dev
[ -z "$without" ] || export LD_LIBRARY_PATH=$without
exec switch_root /mnt /sbin/init
