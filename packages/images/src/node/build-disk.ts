/**
 * Installs packages into a disk image: what the machine that does it works on is laid out in a folder, the machine is run, what it says is
 * followed. The other side is system/stage.sh.
 */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cpioArchive, type CpioEntry } from '../archive/cpio.ts';
import type { Package } from '../debian/packages.ts';
import { SerialTail } from '../guest/serial-tail.ts';
import { ImageError } from '../image-error.ts';
import { DISK_BYTES } from '../system/base.ts';
import type { BuildEnd, BuildMachine } from './build-machine.ts';
import { repackage } from './repackage.ts';
import type { SystemFiles } from './system-files.ts';
import type { PullProgress } from './tiny-image.ts';

export interface DiskPlan {
  /** For people: "debian (stable)". */
  readonly title: string;
  /** An existing image to install into, or where a new one is to be. */
  readonly disk: string;
  /** For a new image: what has to be unpacked before anything of the image can run, and what else the image is made of. */
  readonly base:
    | {
        readonly essential: readonly Package[];
        readonly kernelVersion: string;
        readonly modules: ReadonlyMap<string, Uint8Array>;
      }
    | undefined;
  readonly packages: readonly Package[];
  readonly pathOf: (wanted: Package) => string;
  readonly system: SystemFiles;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly kernelParameters: readonly string[];
  /** A folder to work in. */
  readonly work: string;
  readonly machine: BuildMachine;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: PullProgress) => void;
}

const SHARE_TAG = 'ringfence.stage';
const STAGE_PORT = 'ringfence.stage';
const MEMORY_BYTES = 1024 ** 3;
/** A machine on a busy host is slow; one that is stuck must end all the same. */
const TIMEOUT_MS = 60 * 60_000;
/** Of what the machine said last. */
const TAIL_LINES = 12;
const LONGEST_LINE = 4096;

export async function buildDisk(plan: DiskPlan): Promise<void> {
  const share = join(plan.work, 'stage');
  try {
    await layOut(plan, share);
    await install(plan, share);
  } finally {
    await rm(share, { recursive: true, force: true });
  }
}

async function layOut({ base, packages, pathOf, system, signal, onProgress }: DiskPlan, share: string): Promise<void> {
  await mkdir(join(share, 'debs'), { recursive: true });
  const essential = base?.essential ?? [];
  const all = [...essential, ...packages];
  const bytesTotal = all.reduce((sum, { size }) => sum + size, 0);
  let bytesDone = 0;
  for (const found of all) {
    signal?.throwIfAborted();
    await repackage(pathOf(found), join(share, 'debs', fileOf(found)), found.name, signal);
    bytesDone += found.size;
    onProgress({ kind: 'unpack', item: `${all.length} packages`, bytesDone, bytesTotal });
  }
  const words = (list: readonly Package[]): string => `'${list.map(fileOf).join(' ')}'`;
  const plan = [
    `format=${base === undefined ? '' : '1'}`,
    `essential=${words(essential)}`,
    `packages=${words(packages)}`,
    `kernel='${base?.kernelVersion ?? ''}'`,
  ];
  await writeFile(join(share, 'plan'), `${plan.join('\n')}\n`);
  await writeFile(join(share, 'finish'), system.finish);
  if (base === undefined) return;
  await writeFile(join(share, 'root.cpio'), cpioArchive(system.root, 0));
  await writeFile(join(share, 'modules.cpio'), cpioArchive(moduleEntries(base.kernelVersion, base.modules), 0));
}

/** A name for a package's file that a shell takes as one word. */
function fileOf({ name }: Package): string {
  return `${name}.deb`;
}

function moduleEntries(version: string, modules: ReadonlyMap<string, Uint8Array>): CpioEntry[] {
  const top = `usr/lib/modules/${version}`;
  const folders = new Set<string>(['usr/lib/modules', top]);
  const files: CpioEntry[] = [];
  for (const [path, content] of modules) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth++) folders.add(`${top}/${parts.slice(0, depth).join('/')}`);
    files.push({ kind: 'file', names: [`${top}/${path}`], mode: 0o644, content });
  }
  return [...[...folders].toSorted().map((name): CpioEntry => ({ kind: 'folder', name, mode: 0o755 })), ...files];
}

async function install(plan: DiskPlan, share: string): Promise<void> {
  const log = new SerialTail();
  const steps = new Steps(plan);
  const end = await plan.machine({
    kernel: plan.kernel,
    initrd: plan.initrd,
    bootArguments: ['console=ttyS0', 'panic=-1', 'quiet', ...plan.kernelParameters].join(' '),
    memoryBytes: MEMORY_BYTES,
    disk: { path: plan.disk, createBytes: plan.base === undefined ? undefined : DISK_BYTES },
    share: { tag: SHARE_TAG, folder: share },
    ports: [
      { name: 'console', onData: (bytes) => log.write(bytes) },
      { name: STAGE_PORT, onData: (bytes) => steps.hear(bytes) },
    ],
    onSerial: (bytes) => log.write(bytes),
    signal: plan.signal,
    timeoutMs: TIMEOUT_MS,
  });
  plan.signal?.throwIfAborted();
  if (process.env['RINGFENCE_BUILD_LOG']) await writeFile(process.env['RINGFENCE_BUILD_LOG'], log.text);
  if (steps.isDone && end === 'poweroff') return;
  const tail = lastLines(log.text);
  throw new ImageError(
    'build',
    `The image ${plan.title} cannot be made: ${steps.failure ?? HOW_ENDED[end]}.${tail === '' ? '' : ` The last that its machine said:\n${tail}`}`,
  );
}

const HOW_ENDED: Readonly<Record<BuildEnd, string>> = {
  poweroff: 'the machine that installs its packages switched itself off before it was done',
  reboot: 'the kernel of the machine that installs its packages panicked',
  failure: 'the machine that installs its packages failed',
  timeout: `the machine that installs its packages was not done after ${TIMEOUT_MS / 60_000} minutes`,
};

function lastLines(text: string): string {
  // What a guest says must not steer the user's terminal.
  const lines = text
    .replaceAll(/\r+\n/g, '\n')
    .replaceAll(/[^\P{Cc}\n\t]/gu, '?')
    .trimEnd()
    .split('\n');
  return lines
    .slice(-TAIL_LINES)
    .map((line) => `  ${line}`)
    .join('\n');
}

/** What the machine says of its progress: dpkg's lines (dpkg(1), --status-fd), then `done` or `failed WHY`. */
class Steps {
  isDone = false;
  failure: string | undefined;
  readonly #plan: DiskPlan;
  readonly #total: number;
  readonly #names: ReadonlySet<string>;
  readonly #seen = new Set<string>();
  #line = '';

  constructor(plan: DiskPlan) {
    this.#plan = plan;
    this.#names = new Set([...(plan.base?.essential ?? []), ...plan.packages].map(({ name }) => name));
    this.#total = 2 * this.#names.size;
  }

  hear(bytes: Uint8Array): void {
    const lines = (this.#line + new TextDecoder().decode(bytes)).split('\n');
    this.#line = (lines.pop() ?? '').slice(0, LONGEST_LINE);
    for (const line of lines) this.#obey(line);
  }

  #obey(line: string): void {
    const [, name, state] = /^status: ([^\s:]+)(?::\S+)?: (unpacked|installed)$/.exec(line) ?? [];
    // Whatever else it names is shown to nobody.
    if (name !== undefined && state !== undefined && this.#names.has(name)) {
      this.#seen.add(`${name} ${state}`);
      const stepsDone = Math.min(this.#seen.size, this.#total);
      this.#plan.onProgress({ kind: 'install', item: name, stepsDone, stepsTotal: this.#total });
    }
    if (line === 'done') this.isDone = true;
    this.failure ??= /^failed (.*)$/.exec(line)?.[1]?.replaceAll(/\p{Cc}/gu, '?');
  }
}
