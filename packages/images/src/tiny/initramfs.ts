/**
 * The first and only root file system of the image `tiny`: busybox under all its names, a few modules, our /init. Nothing else, for
 * every byte is copied at each boot; and nothing compressed, for the guest would have to unpack it.
 */

import { cpioArchive, type CpioEntry } from '../archive/cpio.ts';
import { utf8Octets } from '../archive/octets.ts';
import { withoutFrameTables } from '../linux/frame-tables.ts';
import { moduleIndex } from '../linux/module-index.ts';
import type { KernelModule } from '../linux/module-set.ts';
import { stripModule } from '../linux/strip-module.ts';
import { busyboxApplets } from './busybox-applets.ts';

/** Only these are asked for; what they depend on is found in the modules themselves. */
export const WANTED_MODULES = [
  // Devices: /init loads the ones whose hardware is there.
  'virtio_mmio',
  'virtio_blk',
  'virtio_net',
  'virtio_rng',
  'virtio_balloon',
  // File systems: the kernel asks for them when they are mounted. jbd2 and ext4 ask for a crc32c of the crypto library.
  'ext4',
  'crc32c_generic',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  'nls_iso8859_1',
  'nls_utf8',
  'overlay',
  '9p',
  '9pnet_virtio',
] as const;

/** A library that a busybox that is not static needs. */
export interface Library {
  /** Below usr/lib. */
  readonly path: string;
  readonly content: Uint8Array | { readonly target: string };
}

export interface InitramfsParts {
  readonly kernelVersion: string;
  readonly busybox: Uint8Array;
  readonly libraries: readonly Library[];
  readonly modules: readonly KernelModule[];
  /** The script that becomes /init. */
  readonly init: string;
  /** The guest agent. */
  readonly agent: Uint8Array;
  /** What the image calls itself, for /etc/os-release: "Debian 13.7, Linux 6.12.107". */
  readonly title: string;
  /** Seconds since 1970; the time of every file. */
  readonly modifiedAt: number;
}

export function initramfs(parts: InitramfsParts): Uint8Array {
  const applets = busyboxApplets(parts.busybox, 'busybox').filter((name) => name !== 'busybox' && name !== 'linuxrc');
  const modules = parts.modules.map((module) => ({ ...module, content: stripModule(module.content, module.path) }));
  const modulesFolder = `usr/lib/modules/${parts.kernelVersion}`;
  const files: CpioEntry[] = [
    file('init', 0o755, parts.init),
    {
      kind: 'file',
      names: ['usr/bin/busybox', ...applets.map((name) => `usr/bin/${name}`)],
      mode: 0o755,
      content: withoutFrameTables(parts.busybox, 'busybox'),
    },
    { kind: 'file', names: ['usr/bin/ringfence-agent'], mode: 0o755, content: parts.agent },
    file('etc/udhcpc/default.script', 0o755, DHCP_SCRIPT),
    ...Object.entries(settings(parts.title)).map(([name, text]) => file(name, 0o644, text)),
    ...modules.map(({ path, content }): CpioEntry => ({
      kind: 'file',
      names: [`${modulesFolder}/${path}`],
      mode: 0o644,
      content,
    })),
    ...Array.from(moduleIndex(modules), ([name, text]) => file(`${modulesFolder}/${name}`, 0o644, text)),
    ...parts.libraries.map(({ path, content }): CpioEntry => {
      const name = `usr/lib/${path}`;
      return content instanceof Uint8Array
        ? { kind: 'file', names: [name], mode: 0o755, content }
        : { kind: 'symbolic-link', name, target: content.target };
    }),
  ];
  const folders: CpioEntry[] = [...FOLDERS, ...foldersOf(files)].map(([name, mode]) => ({
    kind: 'folder',
    name,
    mode,
  }));
  return cpioArchive([...folders, ...LINKS, ...files], parts.modifiedAt);
}

/** Mount points and homes; a folder has to come before what is in it. */
const FOLDERS: readonly (readonly [name: string, mode: number])[] = [
  ['dev', 0o755],
  ['proc', 0o555],
  ['sys', 0o555],
  ['run', 0o755],
  ['tmp', 0o1777],
  ['mnt', 0o755],
  ['root', 0o700],
  ['etc', 0o755],
  // What devtmpfs lacks; /init copies it there.
  ['etc/dev', 0o755],
  ['etc/dev/pts', 0o755],
  ['etc/dev/shm', 0o1777],
  ['usr', 0o755],
  ['usr/bin', 0o755],
  ['usr/lib', 0o755],
  ['var', 0o755],
];

/** One folder of programs and one of libraries, as Debian has them merged; sbin too, because busybox makes no difference. */
const LINKS: readonly CpioEntry[] = [
  link('bin', 'usr/bin'),
  link('sbin', 'usr/bin'),
  link('lib', 'usr/lib'),
  link('usr/sbin', 'bin'),
  link('var/run', '/run'),
  link('var/tmp', '/tmp'),
  link('etc/mtab', '/proc/self/mounts'),
  link('etc/dev/fd', '/proc/self/fd'),
  link('etc/dev/stdin', '/proc/self/fd/0'),
  link('etc/dev/stdout', '/proc/self/fd/1'),
  link('etc/dev/stderr', '/proc/self/fd/2'),
  // The kernel opens it for /init before devtmpfs is there.
  { kind: 'character-device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
];

function settings(title: string): Record<string, string> {
  return {
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
    'etc/group': 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n',
    'etc/hosts': '127.0.0.1\tlocalhost\n::1\tlocalhost\n',
    'etc/fstab':
      'proc /proc proc nosuid,nodev,noexec 0 0\n' +
      'sysfs /sys sysfs nosuid,nodev,noexec 0 0\n' +
      'devpts /dev/pts devpts nosuid,noexec,gid=5,mode=620,ptmxmode=666 0 0\n' +
      'tmpfs /dev/shm tmpfs nosuid,nodev,mode=1777 0 0\n' +
      'tmpfs /run tmpfs nosuid,nodev,mode=755 0 0\n' +
      'tmpfs /tmp tmpfs nosuid,nodev,mode=1777 0 0\n',
    // What `mount` tries when it is told no type; the kernel loads the module then.
    'etc/filesystems': 'ext4\nvfat\n',
    'etc/profile': `PS1='\\u@\\h:\\w\\$ '\nHISTFILE=/root/.ash_history\n`,
    'etc/os-release': `NAME="Ringfence tiny"\nID=ringfence-tiny\nID_LIKE=debian\nPRETTY_NAME="Ringfence tiny (${title})"\n`,
  };
}

/** What udhcpc calls with what it was given (busybox, networking/udhcp/dhcpc.c); Debian's busybox looks for it under this name. */
const DHCP_SCRIPT = `#!/bin/sh
case $1 in
  deconfig) ifconfig "$interface" 0.0.0.0 up ;;
  bound | renew)
    ifconfig "$interface" "$ip" \${broadcast:+broadcast "$broadcast"} netmask "\${subnet:-255.255.255.0}"
    for gateway in $router; do
      route add default gw "$gateway" dev "$interface"
      break
    done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac 2>/dev/null
`;

/** Folders of `files` that are not in FOLDERS, outer ones first. */
function foldersOf(files: readonly CpioEntry[]): (readonly [name: string, mode: number])[] {
  const known = new Set(FOLDERS.map(([name]) => name));
  const found = new Set<string>();
  for (const entry of files) {
    const parts = (entry.kind === 'file' ? (entry.names[0] ?? '') : entry.name).split('/');
    for (let depth = 1; depth < parts.length; depth++) found.add(parts.slice(0, depth).join('/'));
  }
  return [...found].filter((name) => !known.has(name)).map((name) => [name, 0o755]);
}

function file(name: string, mode: number, text: string): CpioEntry {
  return { kind: 'file', names: [name], mode, content: utf8Octets(text) };
}

function link(name: string, target: string): CpioEntry {
  return { kind: 'symbolic-link', name, target };
}
