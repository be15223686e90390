/** What a virtual machine is to be, as its user writes it, and as it is once checked. */

import {
  type DiskFigures,
  type Log,
  type MachineOptions,
  MAXIMUM_HARTS,
  MAXIMUM_MEMORY_BYTES,
  MINIMUM_MEMORY_BYTES,
} from '@ringfence/core';
import type { ProcessorSettings } from '@ringfence/api/processors';
import { memorySize } from '@ringfence/core/sizes';
import { type DiskSpec, parseDiskSpec } from '../disk/disk-spec.ts';
import { HostError } from '../failure.ts';
import type { Backlog } from '../machine/ports.ts';
import { type NetworkSettings, parseNetwork } from '../network/machine-network.ts';
import { mountedShares, type ShareWords } from '../share/share-words.ts';
import type { KeptPlace } from './kept-boot.ts';
import { type BootableImage, DEFAULT_IMAGE, type Image, imageNamed, type ImageRequest } from './images.ts';
import { checkedName } from './names.ts';
import { checkedProcessors } from './processors.ts';
import type { VMDomain, VMMemoryWishes } from './vm-domain.ts';

export interface VMOptions extends ImageRequest, VMMemoryWishes {
  /** What it is started from; `tiny` when it is not given. */
  readonly image?: string;
  /** Reads the image itself, where it is not to be taken from the cache: a machine that is a folder has its own. Not called when nothing is booted. */
  readonly boot?: () => Promise<BootableImage>;
  /** Of one that comes from another process, or may go on from a kept boot of its own image: what it has booted from. */
  readonly booted?: Pick<BootableImage, 'suite' | 'consoleProgram'>;
  /** Stands for this machine, for cloud-init and the like; a new one with each start when it is not given. */
  readonly instanceId?: string;
  /** Of its network card, like 52:54:00:12:34:56. */
  readonly mac?: string;
  /** One label of DNS that no other virtual machine of this user has; two words of ours when it is not given. The guest's host name. */
  readonly name?: string;
  readonly cpus?: number;
  /** What it may have of this computer's processors (docs/processors.md). */
  readonly cpu?: ProcessorSettings;
  /** Whether nothing but this machine is in the process: all that the process does counts as the machine's. Default false. */
  readonly ownsProcess?: boolean;
  /** Whether other machines are in the process: of what it takes its part is told, and its forks have their part of the processors together with it. Default false. */
  readonly sharesProcess?: boolean;
  /** Bytes, or like `512M`; as much as the image wants when it is not given. */
  readonly memory?: number | string;
  /** Disk images: like `data.img` or `data.qcow2,readonly` (docs/disks.md). */
  readonly disks?: readonly string[];
  /** Where images lie that nobody keeps: what is written to disks given with `snapshot`, and by forks. That of temporary files when it is not given. */
  readonly temporaryFolder?: string;
  /** Of one that comes from another process: disks whose files that has until it comes, by their number. */
  readonly absentDisks?: ReadonlyMap<number, DiskFigures>;
  /** `user`, a network of its own, when it is not given; `none`; or the name of one that machines of this process share. */
  readonly network?: string;
  /** Ports of this computer that lead into the machine, like `8080:80`. */
  readonly publish?: readonly string[];
  /** A pcapng file that gets the network's traffic. */
  readonly capture?: string;
  /** Folders of this computer in the guest, like `.:/work` or `/data:/data:ro`. */
  readonly shares?: readonly string[];
  /** Variables of all commands. */
  readonly env?: Readonly<Record<string, string>>;
  /** Who runs commands, a name or a number; root when it is not given. */
  readonly user?: string;
  /** Where commands run, an absolute path; the user's home when it is not given. */
  readonly workdir?: string;
  /** Words to add to the kernel's command line. */
  readonly kernelArguments?: readonly string[];
  readonly engine?: NonNullable<MachineOptions['engine']>;
  /** Whether it can be forked although it has several processors: these then take turns on one thread. One processor always can. */
  readonly forkable?: boolean;
  /** Where it is started beside others, which it may share pages with; a memory domain of its own when it is not given. */
  readonly domain?: VMDomain;
  /** Who trusts it with what it can learn from shared pages: that of its domain. */
  readonly label?: string;
  /** Whether memory that the guest has free goes back to this computer, and `setBalloon` can ask for more. Default false. */
  readonly balloon?: boolean;
  /** What the machine is for, as `ringfence ps` shows it. */
  readonly command?: readonly string[];
  /**
   * Whether it may go on from a machine like it that was kept when it had booted, and is kept itself when there is none: the guest's commands run
   * sooner. Where its options do not allow that, it boots. Default false.
   */
  readonly keptBoot?: boolean;
  /** The kept boot that it goes on from, where somebody else has found that out; it boots when that cannot be used. */
  readonly keptPlace?: KeptPlace;
  /** Whether `ringfence ps`, `exec` and the like reach it. Where its socket cannot be made it goes without, unless it was given a name. */
  readonly reachable?: boolean;
  /** Gets what the guest writes to its serial line; the array is its to keep. */
  readonly onSerial?: (bytes: Uint8Array) => void;
  readonly log?: Log;
  /** While one of these is full, the machine waits. */
  readonly backlogs?: readonly Backlog[];
  /** How long the guest may take from power on until its agent answers; READY_TIMEOUT_MS when it is not given. */
  readonly readyTimeoutMs?: number;
}

/** What a complaint about an option calls it. */
export type OptionNames = Readonly<
  Record<'cpus' | 'memory' | 'disks' | 'network' | 'publish' | 'capture' | 'shares' | 'env' | 'workdir', string>
>;

const NAMES: OptionNames = {
  cpus: 'cpus',
  memory: 'memory',
  disks: 'disk',
  network: 'network',
  publish: 'port',
  capture: 'capture',
  shares: 'share',
  env: 'env',
  workdir: 'workdir',
};

/** A slow host under load boots Debian in less. */
export const READY_TIMEOUT_MS = 180_000;
const VARIABLE = /^[^=\0]+$/;

export interface VMSettings {
  readonly imageName: string;
  readonly image: Image;
  readonly cpus: number;
  readonly cpu: ProcessorSettings;
  readonly memoryBytes: number;
  readonly disks: readonly DiskSpec[];
  readonly network: NetworkSettings;
  readonly shares: readonly ShareWords[];
}

/** Checks what can be checked before anything is opened; throws a HostError. */
export function vmSettings(options: VMOptions, called: OptionNames = NAMES): VMSettings {
  const { image: imageName = DEFAULT_IMAGE, cpus = 1, network = 'user', publish = [], capture, env = {} } = options;
  if (options.name !== undefined) checkedName(options.name);
  const image = imageNamed(imageName);
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAXIMUM_HARTS)
    throw new HostError(
      'bad-argument',
      `${called.cpus} "${cpus}" is no number of processors; there can be 1 to ${MAXIMUM_HARTS}`,
    );
  options.domain?.check({ ...options, cpus });
  const cpu = checkedProcessors(options.cpu, cpus);
  const { memory = image.memoryBytes } = options;
  const memoryBytes = memorySize(String(memory), MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  if (typeof memoryBytes === 'string')
    throw new HostError('bad-argument', `${called.memory} "${memory}" ${memoryBytes}`);
  checkWishes(options, memoryBytes);
  for (const [name, value] of Object.entries(env)) {
    if (!VARIABLE.test(name)) throw new HostError('bad-argument', `${called.env} "${name}" is no name of a variable`);
    if (value.includes('\0')) throw new HostError('bad-argument', `${called.env} "${name}" has a NUL byte in it`);
  }
  if (options.workdir !== undefined && !options.workdir.startsWith('/'))
    throw new HostError('bad-argument', `${called.workdir} "${options.workdir}" is no absolute path of the guest`);
  return {
    imageName,
    image,
    cpus,
    cpu,
    memoryBytes,
    disks: (options.disks ?? []).map((text) => parseDiskSpec(text, called.disks)),
    network: parseNetwork(
      { net: network, publish, capture, mac: options.mac },
      { net: called.network, publish: called.publish, capture: called.capture },
    ),
    shares: mountedShares(options.shares ?? [], called.shares),
  };
}

function checkWishes(options: VMOptions, memoryBytes: number): void {
  const { domain, memoryReservation, memoryLimit, memoryShares } = options;
  const isNone = memoryReservation === undefined && memoryLimit === undefined && memoryShares === undefined;
  if (domain?.hasPool === true) domain.checkMemory(memoryBytes, options);
  else if (!isNone)
    throw new HostError(
      'bad-argument',
      'memoryReservation, memoryLimit and memoryShares are for machines of a memory domain that was made with "memory"',
    );
}
