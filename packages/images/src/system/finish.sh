# The last touches to a root file system of the image `debian`; run in it with `sh -e` when everything is configured.

mkdir -p /etc/systemd/system/getty.target.wants
ln -sf /usr/lib/systemd/system/ringfence-console@.service /etc/systemd/system/getty.target.wants/ringfence-console@ttyS0.service
systemctl --quiet disable getty@tty1.service
systemctl --quiet set-default multi-user.target
systemctl --quiet enable systemd-networkd.service ringfence-agent.service ringfence-resolv.path ringfence-ssh-keys.service \
  ringfence-user-data.service ringfence-user-data-final.service

# What a virtual machine that is used and thrown away has no need of, each of which costs its start some time.
systemctl --quiet mask \
  systemd-remount-fs.service systemd-pstore.service systemd-hwdb-update.service systemd-journal-flush.service \
  systemd-update-utmp.service systemd-random-seed.service systemd-boot-random-seed.service systemd-journal-catalog-update.service \
  systemd-update-done.service ldconfig.service systemd-machine-id-commit.service systemd-timesyncd.service \
  systemd-networkd-persistent-storage.service systemd-network-generator.service systemd-firstboot.service \
  modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@dm_mod.service \
  modprobe@loop.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount systemd-binfmt.service \
  e2scrub_reap.service e2scrub_all.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
  systemd-tmpfiles-clean.timer systemd-ask-password-console.path systemd-ask-password-wall.path systemd-vconsole-setup.service \
  systemd-tmpfiles-setup-dev.service systemd-udev-load-credentials.service systemd-user-sessions.service
mkdir -p /etc/systemd/system-generators
for generator in systemd-getty-generator systemd-gpt-auto-generator systemd-hibernate-resume-generator systemd-cryptsetup-generator \
  systemd-veritysetup-generator systemd-integritysetup-generator systemd-tpm2-generator systemd-bless-boot-generator \
  systemd-debug-generator systemd-ssh-generator systemd-import-generator systemd-factory-reset-generator systemd-rc-local-generator \
  systemd-run-generator systemd-system-update-generator; do
  [ ! -e "/usr/lib/systemd/system-generators/$generator" ] || ln -sf /dev/null "/etc/systemd/system-generators/$generator"
done
# Nobody is kept from logging in while the system starts, so nobody has to be let in afterwards.
mkdir -p /etc/tmpfiles.d
ln -sf /dev/null /etc/tmpfiles.d/systemd-nologin.conf
# Started by who needs them, through the bus and its socket.
mkdir -p /etc/systemd/system/multi-user.target.wants
for service in systemd-logind dbus; do ln -sf /dev/null "/etc/systemd/system/multi-user.target.wants/$service.service"; done
# A link that makes a service of an empty file.
[ -s /etc/modules ] && grep -qv '^#' /etc/modules || rm -f /etc/modules-load.d/modules.conf

ln -sfn /run/ringfence/resolv.conf /etc/resolv.conf
ln -sf /proc/self/mounts /etc/mtab

# Every machine has its own identity.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
ln -sf /etc/machine-id /var/lib/dbus/machine-id

# What making it has left behind.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/*.log /var/log/apt/* /var/cache/ldconfig/aux-cache

# Everything in /etc and /var is as /usr wants it (systemd-update-done.service(8)).
/usr/lib/systemd/systemd-update-done
