/** What the image `debian` is made of, as far as it is our choice: packages, kernel modules, the disk. */

/** Beside what every Debian system has (priority `required`), and beside what all these need. */
export const BASE_PACKAGES: readonly string[] = [
  'systemd',
  'systemd-sysv',
  'init',
  'udev',
  'dbus',
  'kmod',
  'e2fsprogs',
  'iproute2',
  'netbase',
  'procps',
  'less',
  'ca-certificates',
  'debian-archive-keyring',
];

/** What the root file system's maker runs in; it has to be unpacked before there is a root file system. */
export const FORMATTING_PACKAGE = 'e2fsprogs';

/** Of the disk that the guest sees. The file of it is as large as what is on it. */
export const DISK_BYTES = 16 * 1024 ** 3;

/** Loaded before the root file system is there. */
export const BOOT_MODULES: readonly string[] = [
  'virtio_mmio',
  'virtio_blk',
  'virtio_net',
  'virtio_rng',
  'virtio_balloon',
  'ext4',
  'crc32c_generic',
];

/** What of Debian's kernel modules is of use in a virtual machine: file systems, networking, storage stacks, virtio. */
const USEFUL = new RegExp(
  `^kernel/(?:${[
    'arch/',
    'block/',
    'crypto/',
    'fs/',
    'lib/',
    'net/',
    'security/',
    'virt/',
    'drivers/(?:block|cdrom|char|crypto/virtio|dax|firmware/efi|md|nvdimm|nvme|target|tty|uio|vdpa|vhost|virtio)/',
    'drivers/net/(?:bonding/|ipvlan/|ovpn/|team/|vxlan/|wireguard/|ppp/|slip/|[^/]*$)',
    'drivers/scsi/[^/]*$',
  ].join('|')})`,
);
/** What is not, of those. */
const USELESS =
  /^kernel\/(?:net\/(?:6lowpan|appletalk|atm|ax25|batman-adv|bluetooth|can|ieee802154|lapb|mac80211|mac802154|netrom|nfc|phonet|qrtr|rds|rfkill|rose|wireless|x25)\/|drivers\/block\/(?:drbd|mtip32xx|aoe)\/|drivers\/char\/tpm\/|fs\/(?:gfs2|ocfs2|orangefs)\/)/;

/** What {@link isUsefulModule} goes by, as text: the same from the sources and from the built program, in which functions read otherwise. */
export const MODULE_CHOICE: readonly string[] = [USEFUL.source, USELESS.source];

/** Whether a module, by its path below lib/modules/VERSION, goes into the image. Drivers of hardware that no machine of ours has are two thirds of them. */
export function isUsefulModule(path: string): boolean {
  return USEFUL.test(path) && !USELESS.test(path);
}
