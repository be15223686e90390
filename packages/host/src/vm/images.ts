/**
 * What a virtual machine can be started from: one entry per image. An entry knows what is to be booted and how a guest is told its name
 * and its network; commands and shared folders go through the agent and are the same for all.
 */

import type { Payload } from '@ringfence/core';
import { randomUUID } from 'node:crypto';
import {
  debianArchive,
  findDebian,
  findTiny,
  loadDebian,
  loadTiny,
  readNoCloud,
  type NoCloud,
  type PullOptions,
  type PullProgress,
} from '@ringfence/images';
import { commandArchive, type GuestNetwork } from '@ringfence/images/guest';
import { HostError } from '../failure.ts';
import { RENEW_SYSTEM } from '../guest/renew-identity.ts';

/** Of the image `debian`: cloud-init's user data (users, keys, files, commands of the first boot), meta-data and network-config, as text. */
export interface ImageRequest extends NoCloud {
  /** Debian's suite; the image's own choice when it is not given. */
  readonly suite?: string | undefined;
  readonly mirror?: string | undefined;
  /** Debian packages to have beside the image's own; an image with them is made once and cached. Of the image `debian`. */
  readonly packages?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** What a guest is told besides, as data that can be kept: of `debian` its apt's files and what cloud-init's data source has. */
export interface GuestSettings extends NoCloud {
  readonly apt?: Readonly<Record<string, string>>;
}

/** What a guest has to know when it boots. */
export interface GuestIdentity {
  /** Of cloud-init: what is done once is done again for another one. A new one when it is not given. */
  readonly instanceId?: string | undefined;
  readonly hostname: string;
  /** What its network card is to have; undefined when there is no card, or it is to ask. */
  readonly network: GuestNetwork | undefined;
}

export interface BootableImage {
  readonly suite: string;
  readonly kernel: Payload;
  /** The image's own; a guest's archive is appended to it. */
  readonly initrd: Payload;
  readonly guestSettings: GuestSettings;
  readonly kernelParameters: readonly string[];
  /** The qcow2 image that the system is on; machines share it, and each writes to one of its own in front of it. */
  readonly diskPath?: string;
  /** What to run on the serial console while somebody looks at it, where the system does not do so by itself. */
  readonly consoleProgram?: readonly string[];
  /** What the user should know. */
  readonly notes?: readonly string[];
}

export interface Image {
  /** For people. */
  readonly summary: string;
  /** A shell for somebody at a terminal. */
  readonly shell: readonly string[];
  /** What a machine has when nobody says how much. */
  readonly memoryBytes: number;
  /** What it cannot boot with less than, on a fast computer: a processor's time, and a limit of the memory that it has of the host. */
  readonly least: { readonly cpuMs: number; readonly memoryLimitBytes: number };
  readonly load: (request: ImageRequest) => Promise<BootableImage>;
  /** What stands for its content, when it is in the cache and a machine that has booted it may be kept for later ones; see kept-boot.ts. */
  readonly find?: (request: ImageRequest) => Promise<FoundImage | undefined>;
  /** A shell's: makes anew what its system is known by, where that is kept with a machine that has booted. */
  readonly renewal?: string;
  /** What is appended to the initial ramdisk for one guest. */
  readonly guestArchive: (guest: GuestIdentity, settings: GuestSettings) => Promise<Uint8Array> | Uint8Array;
}

export interface FoundImage extends Pick<BootableImage, 'suite' | 'consoleProgram'> {
  readonly fingerprint: string;
  /** Whether its system is on a disk. */
  readonly hasDisk: boolean;
}

const MiB = 1024 * 1024;

/** Of all that a caller may have put beside it (a machine's variables are no business of a mirror's). */
function pullOptions({ suite, mirror, signal, onProgress }: ImageRequest): PullOptions {
  return { suite, mirror, signal, onProgress };
}

/** What there is of the data source's files; undefined when there is nothing. */
function noCloud({ userData, metaData, networkConfig }: NoCloud): NoCloud | undefined {
  const all = Object.entries({ userData, metaData, networkConfig }).filter(([, text]) => text !== undefined);
  return all.length === 0 ? undefined : Object.fromEntries(all);
}

/** The initial ramdisk of one guest. */
export async function guestInitrd(
  image: Image,
  { initrd, guestSettings }: BootableImage,
  guest: GuestIdentity,
): Promise<Payload> {
  return { ...initrd, bytes: Buffer.concat([initrd.bytes, await image.guestArchive(guest, guestSettings)]) };
}

/** A shell on the serial line. The agent's programs lead sessions of their own, so that the line becomes its terminal when it is opened. */
const SERIAL_SHELL = ['sh', '-c', 'exec sh -l </dev/ttyS0 >/dev/ttyS0 2>&1'];

export const IMAGES = {
  tiny: {
    summary: "Debian's kernel and busybox",
    shell: ['sh', '-l'],
    memoryBytes: 512 * MiB,
    least: { cpuMs: 2000, memoryLimitBytes: 16 * MiB },
    find: async (request) => {
      const found = await findTiny(pullOptions(request));
      if (found === undefined) return undefined;
      const { kernel, initrd, recipe } = found.manifest;
      const fingerprint = `${kernel.sha256} ${initrd.sha256} ${recipe}`;
      return { suite: found.suite, consoleProgram: SERIAL_SHELL, fingerprint, hasDisk: false };
    },
    load: async (request) => {
      const data = noCloud(request);
      const option = request.packages?.length ? 'packages' : data === undefined ? undefined : 'user data';
      if (option !== undefined)
        throw new HostError('bad-argument', `the image tiny takes no ${option}; the image debian does`);
      const image = await loadTiny(pullOptions(request));
      return {
        suite: image.suite,
        kernel: { kind: 'kernel', name: image.kernelPath, bytes: image.kernel },
        initrd: { kind: 'initrd', name: image.initrdPath, bytes: image.initrd },
        guestSettings: {},
        kernelParameters: image.kernelParameters,
        consoleProgram: SERIAL_SHELL,
      };
    },
    guestArchive: ({ hostname, network }) =>
      commandArchive({ argv: [], interactive: false, agent: true, hostname, ...(network && { network }) }),
  },
  debian: {
    summary: 'Debian with systemd, apt and the packages that are asked for',
    shell: ['bash', '-l'],
    memoryBytes: 1024 * MiB,
    least: { cpuMs: 6000, memoryLimitBytes: 24 * MiB },
    renewal: RENEW_SYSTEM,
    find: async (request) => {
      const found = await findDebian({ ...pullOptions(request), packages: request.packages });
      if (found === undefined) return undefined;
      const { kernel, initrd, disk, recipe } = found.manifest;
      const fingerprint = [kernel.sha256, initrd.sha256, disk?.sha256, recipe, JSON.stringify([...found.apt])].join(
        ' ',
      );
      return { suite: found.suite, fingerprint, hasDisk: true };
    },
    load: async (request) => {
      // Before minutes are spent on an image.
      const data = noCloud(request);
      const read = data && (await readNoCloud(data));
      const { buildMachine } = await import('./build-machine.ts');
      const image = await loadDebian({ ...pullOptions(request), packages: request.packages, machine: buildMachine });
      return {
        suite: image.suite,
        kernel: { kind: 'kernel', name: image.kernelPath, bytes: image.kernel },
        initrd: { kind: 'initrd', name: image.initrdPath, bytes: image.initrd },
        guestSettings: { apt: Object.fromEntries(image.apt), ...data },
        kernelParameters: image.kernelParameters,
        diskPath: image.diskPath,
        notes: read?.notes ?? [],
      };
    },
    guestArchive: async ({ hostname, network, instanceId = randomUUID() }, { apt = {}, ...rest }) => {
      const data = noCloud(rest);
      return debianArchive({
        hostname,
        network,
        settings: new Map(Object.entries(apt)),
        data: data && (await readNoCloud(data)),
        instanceId,
      });
    },
  },
} as const satisfies Readonly<Record<string, Image>>;

export const DEFAULT_IMAGE = 'tiny';

/** The names there are. */
export function imageNames(): readonly string[] {
  return Object.keys(IMAGES);
}

/** The image of that name; throws a HostError with those there are. */
export function imageNamed(name: string): Image {
  const images: Readonly<Record<string, Image>> = IMAGES;
  const image = Object.hasOwn(images, name) ? images[name] : undefined;
  if (image !== undefined) return image;
  throw new HostError('not-found', `there is no image "${name}", only ${imageNames().join(' and ')}`);
}
