/**
 * What one guest of the image `debian` is told when it boots, as a small cpio archive that the host appends to the image's initrd: the
 * initrd's /init (boot.sh) puts `root` over the new root and leaves the rest in /run/ringfence.
 *
 *     ringfence/network                 address netmask gateway nameserver     what the first card is to have
 *     ringfence/root/etc/...            host name, apt's sources
 *     ringfence/root/run/systemd/...    a network-config's files
 *     ringfence/user-data/...           instance-id, the scripts early and final, files/
 */

import { cpioArchive, type CpioEntry } from '../archive/cpio.ts';
import { utf8Octets } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';
import type { GuestNetwork } from '../tiny/command-archive.ts';
import { HOSTNAME, INSTANCE } from './guest-names.ts';
import type { GuestData } from './no-cloud.ts';

export interface DebianGuest {
  readonly hostname: string;
  /** What the first network card is to have. Without it the guest asks with DHCP, which takes longer. */
  readonly network?: GuestNetwork | undefined;
  /** Files below /etc, by their names there: apt's sources. */
  readonly settings?: ReadonlyMap<string, string> | undefined;
  /** What cloud-init's data source says. */
  readonly data?: GuestData | undefined;
  /** Stands for this machine: user data is acted upon once for each. */
  readonly instanceId: string;
}

const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
/** The addresses under which this computer knows itself, and a guest itself. */
const LOOPBACK = /(\bhttps?:\/\/(?:[^\s/@]*@)?)(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?=[:/\s"]|$)/g;

/** A URL with a user, or a user and a password (RFC 3986, 3.2.1). */
const CREDENTIALS = /:\/\/[^\s/@"]+@/;

export function debianArchive(guest: DebianGuest): Uint8Array {
  const { network, settings = new Map<string, string>(), data } = guest;
  const hostname = data?.hostname ?? guest.hostname;
  const instanceId = data?.instanceId ?? guest.instanceId;
  if (!HOSTNAME.test(hostname)) throw new ImageError('bad-argument', `"${hostname}" is no name for a host.`);
  if (!INSTANCE.test(instanceId)) throw new ImageError('bad-argument', `"${instanceId}" is no name for an instance.`);
  const addresses = network && [network.address, network.netmask, network.gateway, network.nameServer];
  const badAddress = addresses?.find((address) => !IPV4.test(address));
  if (badAddress !== undefined)
    throw new ImageError('bad-argument', `"${badAddress}" is no IPv4 address for the guest's network.`);

  const files = new Map<string, { readonly mode: number; readonly content: Uint8Array }>();
  const add = (name: string, content: string | Uint8Array, mode = 0o644): void => {
    files.set(name, { mode, content: typeof content === 'string' ? utf8Octets(content) : content });
  };
  const networkFiles = data?.network ?? new Map<string, string>();
  for (const [name, text] of networkFiles) add(`root/run/systemd/network/${name}`, text);
  // Below /run, so that nothing of it is left at a boot without it. With a network-config the guest's own systemd-networkd sets the cards up.
  if (addresses !== undefined && networkFiles.size === 0) add('network', `${addresses.join(' ')}\n`);
  add('root/etc/hostname', `${hostname}\n`);
  add('root/etc/hosts', `127.0.0.1\tlocalhost\n127.0.1.1\t${hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n`);
  for (const [name, text] of settings) {
    // What is on this computer, the guest reaches through its gateway.
    const reachable = network === undefined ? text : text.replaceAll(LOOPBACK, `$1${network.gateway}`);
    // A user of the guest need not know what this computer says to its proxy.
    add(`root/etc/${name}`, reachable, CREDENTIALS.test(text) ? 0o600 : 0o644);
  }
  if (data?.early !== undefined || data?.final !== undefined) {
    add('user-data/instance-id', `${instanceId}\n`, 0o600);
    if (data.early !== undefined) add('user-data/early', data.early, 0o600);
    if (data.final !== undefined) add('user-data/final', data.final, 0o600);
    for (const [name, content] of data.files) add(`user-data/files/${name}`, content, 0o600);
  }
  return cpioArchive(entriesOf(files), 0);
}

function entriesOf(files: ReadonlyMap<string, { readonly mode: number; readonly content: Uint8Array }>): CpioEntry[] {
  const folders = new Set(['ringfence']);
  for (const name of files.keys()) {
    const parts = `ringfence/${name}`.split('/');
    for (let depth = 1; depth < parts.length; depth++) folders.add(parts.slice(0, depth).join('/'));
  }
  return [
    ...[...folders].map((name): CpioEntry => ({
      kind: 'folder',
      name,
      // Passwords may be in there.
      mode: name.startsWith('ringfence/user-data') ? 0o700 : 0o755,
    })),
    ...[...files].map(([name, { mode, content }]): CpioEntry => ({
      kind: 'file',
      names: [`ringfence/${name}`],
      mode,
      content,
    })),
  ];
}
