#!/bin/sh
# The first process of the machine that makes, or adds to, the root file system of the image `debian` (/dev/vda). What it works on lies in a
# folder of the host, read-only (virtio-fs, tag "ringfence.stage"):
#
#     plan              shell: format, essential, packages
#     debs/             the packages, in their containers but not compressed
#     modules.cpio      kernel modules         root.cpio      files of ours
#     finish            what is done in the new root when everything is configured
#
# It tells the host how it gets on through the port "ringfence.stage": dpkg's lines of --status-fd, then "done" or "failed WHY". What programs
# say goes to the console hvc0.

export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
umask 022

mount -t devtmpfs devtmpfs /dev
cp -a /etc/dev/. /dev/
mount -a
exec </dev/null >/dev/hvc0 2>&1

report() { echo "$*" >&9; }

switch_off() {
  sync
  poweroff -f
  while :; do sleep 1; done
}

fail() {
  echo "failed: $*"
  report "failed $*"
  switch_off
}

for port in /sys/class/virtio-ports/*; do
  read -r name <"$port/name" && [ "$name" = ringfence.stage ] && exec 9>"/dev/${port##*/}"
done
modprobe -a virtio_blk virtio_rng ext4 || fail 'the drivers cannot be loaded'
mkdir -p /stage /target
mount -t virtiofs -o ro ringfence.stage /stage || fail "the host's folder cannot be mounted"
format='' essential='' packages='' kernel=''
. /stage/plan

paths() { for deb in "$@"; do echo "/stage/debs/$deb"; done; }

# Makes the file system. Its maker is Debian's, so it is unpacked in memory, and so is the dpkg that unpacks the first packages: their
# scripts run here and know the new root by DPKG_ROOT, for in there is nothing yet that could run them. The journal comes last: nobody needs
# the file system if this is not finished. Sums over its metadata guard against disks that forget, which is the host's business.
make_root() {
  mkdir /seed
  for deb in $(paths $essential); do
    ar -p "$deb" data.tar | tar -x -C /seed || fail "$deb cannot be unpacked"
  done
  mkdir -p /seed/target /seed/stage
  for folder in dev proc stage; do mount -o bind /$folder /seed/$folder; done
  chroot /seed /usr/sbin/mke2fs -q -F -t ext4 -L ringfence -m 1 -O ^has_journal,^metadata_csum \
    -E lazy_itable_init=0,nodiscard /dev/vda || fail 'the file system cannot be made'
  mount -t ext4 -o noatime,nobarrier /dev/vda /target || fail 'the new file system cannot be mounted'
  mount -o bind /target /seed/target
  (cd /target && cpio -idmu --quiet <"/stage/root.cpio") || fail 'files of ours cannot be unpacked'
  mkdir -p /target/var/lib/dpkg /seed/etc/dpkg/dpkg.cfg.d
  : >/target/var/lib/dpkg/status
  cp /target/etc/dpkg/dpkg.cfg.d/* /seed/etc/dpkg/dpkg.cfg.d/
  chroot /seed /usr/bin/dpkg --root=/target --force-script-chrootless --force-depends --force-unsafe-io --no-triggers --status-fd 9 \
    --unpack $(paths $essential) || fail 'the essential packages cannot be unpacked'
  umount /seed/target
}

if [ -n "$format" ]; then
  make_root
else
  mount -t ext4 -o noatime,nobarrier /dev/vda /target || fail 'the file system cannot be mounted'
fi
mount -o bind /dev /target/dev
mount -t proc proc /target/proc
mount -t sysfs sysfs /target/sys
mount -t tmpfs tmpfs /target/run
mount -t tmpfs tmpfs /target/tmp
mkdir -p /target/run/stage
mount -o bind /stage /target/run/stage

# No service is started while the system is made (invoke-rc.d(8)).
printf '#!/bin/sh\nexit 101\n' >/target/usr/sbin/policy-rc.d
chmod 755 /target/usr/sbin/policy-rc.d

# By their whole paths: busybox takes a bare name for one of its own.
inside() { chroot /target "$@"; }
inside_paths() { for deb in "$@"; do echo "/run/stage/debs/$deb"; done; }

if [ -n "$packages" ]; then
  inside /usr/bin/dpkg --force-depends --force-unsafe-io --no-triggers --status-fd 9 --unpack $(inside_paths $packages) ||
    fail 'the packages cannot be unpacked'
fi
inside /usr/bin/dpkg --force-unsafe-io --force-confold --status-fd 9 --configure -a || fail 'the packages cannot be configured'

if [ -e /stage/modules.cpio ]; then
  (cd /target && cpio -idmu --quiet <"/stage/modules.cpio") || fail 'the kernel modules cannot be unpacked'
  inside /usr/sbin/depmod "$kernel" || fail 'depmod cannot read the kernel modules'
fi
rm /target/usr/sbin/policy-rc.d
inside /bin/sh -e /run/stage/finish || fail 'the last touches cannot be made'
umount /target/run/stage
for folder in dev proc sys run tmp; do umount /target/$folder; done
fstrim /target
umount /target || fail 'the file system cannot be unmounted'
if [ -n "$format" ]; then
  chroot /seed /usr/sbin/tune2fs -J size=64 /dev/vda >/dev/null || fail 'the file system gets no journal'
fi
report 'done'
switch_off
