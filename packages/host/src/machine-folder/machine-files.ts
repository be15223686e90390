/** Makes, reads and changes the folder that a machine is. A folder that is being made has another name until it is whole. */

import type { Creation } from '@ringfence/api';
import { BlockStoreError, openDisk } from '@ringfence/core';
import { formatSize } from '@ringfence/core/sizes';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NodeImageFiles } from '../disk/disks.ts';
import { diskLockPath } from '../disk/disk-lock.ts';
import { errnoOf, HostError, systemReason } from '../failure.ts';
import { randomMac } from '../network/random-mac.ts';
import { readRegular } from '../regular-file.ts';
import { syncFolder } from '../sync-folder.ts';
import { nodeClusterDecompressor } from '../machine/ports.ts';
import type { BootableImage, Image } from '../vm/images.ts';
import { placeBootFiles, SYSTEM_DISK } from './boot-files.ts';
import { CONFIG_VERSION, impossible, type MachineConfig } from './config.ts';
import { checkInside } from './foreign-folder.ts';
import { fileIn, machineFolder, type MachineFolder } from './layout.ts';
import { checkDisk, newDisk } from './new-disk.ts';
import { changedVmYaml, MAXIMUM_BYTES, parseVmYaml, vmYamlOf } from './vm-yaml.ts';

/** What a folder is called until it is whole. */
export function unfinished(machines: string, id: string): string {
  return join(machines, `.new-${id}`);
}

/** What the machine of that request is to be; throws `bad-argument`. */
export function configOf(
  wanted: Creation & { readonly name: string },
  id: string,
  image: { readonly name: string; readonly image: Image },
  suite: string,
): MachineConfig {
  const { disks = [], network = 'user', publish = [], kernelArguments = [], env = {} } = wanted;
  if (network === 'none' && publish.length > 0)
    throw new HostError('bad-argument', 'publish needs a network, and network none says that there is none');
  for (const disk of disks) checkDisk(disk);
  const config: MachineConfig = {
    version: CONFIG_VERSION,
    id,
    name: wanted.name,
    image: image.name,
    suite,
    cpus: wanted.cpus ?? 1,
    ...(wanted.cpu === undefined ? {} : { cpu: wanted.cpu }),
    ...(wanted.overcommit === undefined ? {} : { overcommit: wanted.overcommit }),
    ...(wanted.label === undefined ? {} : { label: wanted.label }),
    memory: wanted.memory ?? formatSize(image.image.memoryBytes).replaceAll(/ |iB/g, ''),
    disks: disks.map(({ readOnly }, index) => ({
      file: `disks/disk${index}.qcow2`,
      ...(readOnly === true ? { readonly: true } : {}),
    })),
    networks:
      network === 'none'
        ? []
        : [{ mode: 'user', mac: randomMac().toString(), ...(publish.length > 0 ? { publish } : {}) }],
    ...(wanted.engine === undefined ? {} : { engine: wanted.engine }),
    ...(kernelArguments.length > 0 ? { kernelArguments } : {}),
    ...(Object.keys(env).length > 0 ? { env } : {}),
    ...(wanted.user === undefined ? {} : { user: wanted.user }),
    ...(wanted.workdir === undefined ? {} : { workdir: wanted.workdir }),
  };
  const problem = impossible(config);
  if (problem !== undefined) throw new HostError('bad-argument', `${problem.path.join('.')} ${problem.problem}`);
  return config;
}

/** Makes the folder at `path`, by way of `making`; all or nothing. */
export async function makeMachine(
  making: string,
  path: string,
  config: MachineConfig,
  disks: Creation['disks'],
  boot: BootableImage,
): Promise<void> {
  await placedWhole(path, making, async (folder) => {
    await mkdir(folder.disks);
    await mkdir(folder.run);
    await placeBootFiles(folder, boot);
    const whole: MachineConfig = { ...config, disks: [...(config.disks ?? [])] };
    if (boot.diskPath !== undefined) {
      const file = 'disks/system.qcow2';
      await newDisk(fileIn(folder, file), { backing: `../image/${SYSTEM_DISK}` });
      whole.disks?.unshift({ file });
    }
    for (const [index, disk] of (disks ?? []).entries())
      await newDisk(fileIn(folder, `disks/disk${index}.qcow2`), disk);
    await writeFile(folder.yaml, vmYamlOf(whole), { mode: 0o600, flush: true });
  });
}

/** The folder `path`, filled under the name `making` beside its place, durable and whole or not there. */
export async function placedWhole(
  path: string,
  making: string,
  fill: (folder: MachineFolder) => Promise<void>,
): Promise<void> {
  try {
    await mkdir(making, { mode: 0o700 });
    await fill(machineFolder(making));
    await syncFolder(making);
    await rename(making, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    throw withReason(error, `the folder ${path} cannot be made`);
  }
}

/** What the folder's vm.yaml says; throws `not-a-machine`, or `not-found` when there is no such folder. */
export async function readMachine(folder: MachineFolder): Promise<MachineConfig> {
  const text = await readYaml(folder);
  const known = read.get(text);
  if (known !== undefined) return known;
  const config = parseVmYaml(text, folder.yaml);
  if (text.length > REMEMBERED_CHARACTERS) return config;
  read.set(text, config);
  const [oldest = ''] = read.keys();
  if (read.size > REMEMBERED) read.delete(oldest);
  return config;
}

/** What was read of texts: a machine that is started was read when it was made, and reading one again takes 5 to 10 ms. */
const read = new Map<string, MachineConfig>();
const REMEMBERED = 1024;
const REMEMBERED_CHARACTERS = 4096;

async function readYaml({ path, yaml }: MachineFolder): Promise<string> {
  const info = await stat(path).catch((error: unknown) => {
    throw new HostError('not-found', `the folder ${path} cannot be used: ${systemReason(error)}`, error);
  });
  if (!info.isDirectory()) throw new HostError('not-a-machine', `${path} is no folder`);
  try {
    return await readRegular(yaml, MAXIMUM_BYTES);
  } catch (error) {
    if (error instanceof HostError) throw new HostError('not-a-machine', error.message, error);
    const what = errnoOf(error) === 'ENOENT' ? `has no ${basename(yaml)}` : `cannot be read: ${systemReason(error)}`;
    throw new HostError('not-a-machine', `the folder ${path} is no virtual machine: it ${what}`, error);
  }
}

/** Changes fields of the vm.yaml; it is the old or the new one, whatever happens. */
export async function changeMachine(
  folder: MachineFolder,
  changes: readonly (readonly [readonly (string | number)[], unknown])[],
): Promise<MachineConfig> {
  const text = changedVmYaml(await readYaml(folder), folder.yaml, changes);
  const beside = `${folder.yaml}.new`;
  try {
    await writeFile(beside, text, { mode: 0o600, flush: true });
    await rename(beside, folder.yaml);
    await syncFolder(folder.path);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw withReason(error, `${folder.yaml} cannot be written`);
  }
  return parseVmYaml(text, folder.yaml);
}

export interface MachineDisks {
  /** As `VMOptions` have them. */
  readonly specs: readonly string[];
  readonly writable: readonly string[];
  /** Everything that is read, with the images behind. */
  readonly readable: readonly string[];
}

/**
 * What the machine's process is to open. A raw disk is found out by its first bytes, there as here: only then the process guards it against a guest that
 * writes an image's header there, which the next start would believe, with all files that it names.
 */
export function diskSpecOf(path: string, format: 'raw' | 'qcow2', readOnly: boolean): string {
  return `${path.replaceAll(',', ',,')}${format === 'raw' ? '' : `,format=${format}`}${readOnly ? ',readonly' : ''}`;
}

/**
 * The disks and what stands behind them; throws `unavailable` when one cannot be had, and `forbidden`, before it is opened, when one may not lead outside
 * of the folder and does: opening reads a file, locks it, and makes a file beside it.
 */
export async function machineDisks(
  folder: MachineFolder,
  config: Pick<MachineConfig, 'disks'>,
  { mayLeadOutside }: { readonly mayLeadOutside: boolean },
): Promise<MachineDisks> {
  const specs: string[] = [];
  const writable: string[] = [];
  const readable = new Set<string>();
  for (const { file, readonly: readOnly = false } of config.disks ?? []) {
    const path = fileIn(folder, file);
    const files = new NotedFiles(mayLeadOutside ? undefined : folder);
    try {
      const { store, format } = await openDisk(files, path, { readOnly: true, decompress: nodeClusterDecompressor });
      await store.close();
      specs.push(diskSpecOf(path, format, readOnly));
    } catch (error) {
      if (error instanceof BlockStoreError) throw new HostError('unavailable', error.message, error);
      throw error;
    }
    for (const each of files.opened) readable.add(each);
    if (!readOnly) writable.push(path, diskLockPath(path));
  }
  return { specs, writable, readable: [...readable].flatMap((path) => [path, diskLockPath(path)]) };
}

/** Image files, and which of them were opened; with `folder` none outside of it. */
class NotedFiles extends NodeImageFiles {
  readonly opened: string[] = [];
  readonly #folder: MachineFolder | undefined;

  constructor(folder: MachineFolder | undefined) {
    super();
    this.#folder = folder;
  }

  override async open(path: string, options: { readonly readOnly: boolean }): ReturnType<NodeImageFiles['open']> {
    await this.#check(path);
    this.opened.push(path);
    return super.open(path, options);
  }

  override async identify(path: string): Promise<string> {
    await this.#check(path);
    return super.identify(path);
  }

  async #check(path: string): Promise<void> {
    if (this.#folder !== undefined) await checkInside(this.#folder, path);
  }
}

function withReason(error: unknown, what: string): Error {
  if (error instanceof HostError) return error;
  const errno = errnoOf(error);
  const code = errno === 'ENOSPC' || errno === 'EDQUOT' ? 'no-space' : 'unavailable';
  return errno === undefined && error instanceof Error && !('code' in error)
    ? error
    : new HostError(code, `${what}: ${systemReason(error)}`, error);
}
