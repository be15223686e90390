/**
 * The command of a `run`, as a small cpio archive that the host appends to the image's initrd: the kernel unpacks archives that follow
 * one another into the same file system. It holds one file, /ringfence/command, which /init reads as a piece of shell.
 */

import { cpioArchive } from '../archive/cpio.ts';
import { concatenate, utf8Octets } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';

export interface GuestCommand {
  /** The command and its arguments, as text or as the bytes themselves. Empty, when interactive, for a login shell. */
  readonly argv: readonly (string | Uint8Array)[];
  /** On the console with a terminal of its own, instead of through the ports. */
  readonly interactive: boolean;
  /** Nothing runs by itself: the guest's agent does what the host asks of it, until the machine is shut down. `argv` is empty then. */
  readonly agent?: boolean;
  readonly hostname?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What the first network card is to have. Without it the guest asks with DHCP, which takes longer. */
  readonly network?: GuestNetwork;
  /** Folders of the host, in the order in which `unshared N` counts them. */
  readonly shares?: readonly GuestShare[];
}

/** IPv4 addresses. */
export interface GuestNetwork {
  readonly address: string;
  readonly netmask: string;
  readonly gateway: string;
  readonly nameServer: string;
}

/** A virtio-fs device that the guest mounts before the command runs. */
export interface GuestShare {
  readonly tag: string;
  /** Where, an absolute path; made when it is not there. */
  readonly path: string;
  readonly readOnly: boolean;
}

/** Linux's own limit for one argument (MAX_ARG_STRLEN, 32 pages). */
const MAX_ARGUMENT_SIZE = 128 * 1024 - 1;
/** Linux's limit for all of them is a quarter of the stack's 8 MiB. */
const MAX_ARGUMENTS_SIZE = 2 * 1024 * 1024;
const HOSTNAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function commandArchive({
  argv,
  interactive,
  agent = false,
  hostname = 'tiny',
  env = {},
  network,
  shares = [],
}: GuestCommand): Uint8Array {
  const mode = agent ? 'agent' : interactive ? 'interactive' : 'command';
  if (argv.length === 0 && mode === 'command') throw new ImageError('bad-argument', 'There is no command to run.');
  if (argv.length > 0 && agent)
    throw new ImageError('bad-argument', 'A machine with an agent runs no command by itself.');
  if (!HOSTNAME.test(hostname)) throw new ImageError('bad-argument', `"${hostname}" is no name for a host.`);
  const names = Object.keys(env);
  const badName = names.find((name) => !VARIABLE.test(name));
  if (badName !== undefined)
    throw new ImageError('bad-argument', `"${badName}" is no name for an environment variable.`);

  const addresses = network && [network.address, network.netmask, network.gateway, network.nameServer];
  const badAddress = addresses?.find((address) => !IPV4.test(address));
  if (badAddress !== undefined)
    throw new ImageError('bad-argument', `"${badAddress}" is no IPv4 address for the guest's network.`);

  const words = argv.map((word) => (typeof word === 'string' ? utf8Octets(word) : word));
  const values = Object.values(env).map(utf8Octets);
  const mounts = shares.map(({ tag, path }) => [utf8Octets(tag), utf8Octets(path)] as const);
  checkSizes([...words, ...values, ...mounts.flat()]);
  const script = concatenate([
    utf8Octets(`mode=${mode}\nhostname='${hostname}'\n`),
    utf8Octets(addresses === undefined ? '' : `network='${addresses.join(' ')}'\n`),
    ...names.flatMap((name, at) => [
      utf8Octets(`export ${name}=`),
      quoted(values[at] ?? new Uint8Array(0)),
      utf8Octets('\n'),
    ]),
    ...mounts.flatMap(([tag, path], index) => [
      utf8Octets(`share ${index} ${shares[index]?.readOnly === true ? 'ro' : 'rw'} `),
      quoted(tag),
      utf8Octets(' '),
      quoted(path),
      utf8Octets('\n'),
    ]),
    utf8Octets('set --'),
    ...words.flatMap((word) => [utf8Octets(' '), quoted(word)]),
    utf8Octets('\n'),
  ]);
  return cpioArchive(
    [
      { kind: 'folder', name: 'ringfence', mode: 0o700 },
      { kind: 'file', names: ['ringfence/command'], mode: 0o600, content: script },
    ],
    0,
  );
}

function checkSizes(words: readonly Uint8Array[]): void {
  if (words.some((word) => word.includes(0))) {
    throw new ImageError('bad-argument', 'An argument of the command holds a NUL byte, which no program can be given.');
  }
  if (
    words.some((word) => word.length > MAX_ARGUMENT_SIZE) ||
    words.reduce((sum, word) => sum + word.length + 1, 0) > MAX_ARGUMENTS_SIZE
  ) {
    throw new ImageError(
      'bad-argument',
      'The arguments of the command are too long for the guest. Feed them to its standard input instead.',
    );
  }
}

const QUOTE = 0x27;

/** In single quotes, where the shell reads every byte but a quote as itself; a quote becomes '\''. */
function quoted(word: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [utf8Octets("'")];
  let start = 0;
  for (let at = word.indexOf(QUOTE); at >= 0; at = word.indexOf(QUOTE, start)) {
    parts.push(word.subarray(start, at), utf8Octets(String.raw`'\''`));
    start = at + 1;
  }
  parts.push(word.subarray(start), utf8Octets("'"));
  return concatenate(parts);
}
