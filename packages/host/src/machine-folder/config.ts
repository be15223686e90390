/** What a virtual machine is, as its vm.yaml says it: the fields, and what is possible. */

import { overcommitSettings } from '@ringfence/api/memory';
import { impossibleProcessors, processorSettings } from '@ringfence/api/processors';
import { MAXIMUM_HARTS, MAXIMUM_MEMORY_BYTES, MacAddress, MINIMUM_MEMORY_BYTES } from '@ringfence/core';
import { memorySize } from '@ringfence/core/sizes';
import * as z from 'zod/mini';
import { parsePublish } from '../network/publish.ts';
import { imageNames } from '../vm/images.ts';
import { isName } from '../vm/names.ts';
import { impossibleOvercommit } from './overcommit.ts';

/** Of the fields below. A folder of a later version is refused. */
export const CONFIG_VERSION = 1;

const MAXIMUM_DISKS = 26;
const text = z.string().check(z.minLength(1), z.maxLength(4096));

export const CONFIG = z.strictObject({
  version: z.number(),
  id: z.uuid(),
  name: text,
  image: text,
  suite: text,
  cpus: z.number(),
  cpu: z.optional(processorSettings),
  memory: z.union([text, z.number()]),
  overcommit: z.optional(overcommitSettings),
  label: z.optional(text),
  disks: z.optional(
    z.array(z.strictObject({ file: text, readonly: z.optional(z.boolean()) })).check(z.maxLength(MAXIMUM_DISKS)),
  ),
  networks: z.optional(
    z
      .array(
        z.strictObject({
          mode: z.enum(['user']),
          mac: text,
          publish: z.optional(z.array(text).check(z.maxLength(64))),
        }),
      )
      .check(z.maxLength(1)),
  ),
  engine: z.optional(z.enum(['interpreter', 'jit'])),
  kernelArguments: z.optional(z.array(text).check(z.maxLength(64))),
  env: z.optional(z.record(z.string(), z.string())),
  user: z.optional(text),
  workdir: z.optional(text),
});

export type MachineConfig = z.output<typeof CONFIG>;

export interface Impossible {
  readonly path: readonly (string | number)[];
  /** The end of a sentence that begins with the field. */
  readonly problem: string;
}

const NO_NUL = 'has the character 0 in it, which ends a text for the guest';

/** The first field that says what cannot be. */
export function impossible(config: MachineConfig): Impossible | undefined {
  const { version, name, image, cpus, memory, networks = [], env = {}, workdir } = config;
  const wrong = (path: Impossible['path'], problem: string): Impossible => ({ path, problem });
  if (version !== CONFIG_VERSION)
    return wrong(['version'], `is ${version}, and this Ringfence knows version ${CONFIG_VERSION}`);
  if (!isName(name)) return wrong(['name'], `"${name}" is no name: small letters, digits and dashes, at most 63`);
  if (!imageNames().includes(image))
    return wrong(['image'], `"${image}" is no image; there are ${imageNames().join(' and ')}`);
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAXIMUM_HARTS)
    return wrong(['cpus'], `"${cpus}" is no number of processors; there can be 1 to ${MAXIMUM_HARTS}`);
  const processors = impossibleProcessors(config.cpu ?? {}, cpus);
  if (processors !== undefined) return wrong(['cpu', processors.field], processors.problem);
  const bytes = memorySize(String(memory), MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  if (typeof bytes === 'string') return wrong(['memory'], `"${memory}" ${bytes}`);
  const overcommit = config.overcommit && impossibleOvercommit(config.overcommit, bytes);
  if (overcommit !== undefined) return wrong(['overcommit', overcommit.field], overcommit.problem);
  if (config.label !== undefined && !isName(config.label))
    return wrong(['label'], `"${config.label}" is no label: small letters, digits and dashes, at most 63`);
  for (const [index, { mac, publish = [] }] of networks.entries()) {
    if (MacAddress.parse(mac)?.isUnicast !== true)
      return wrong(['networks', index, 'mac'], `"${mac}" is no address of a card; write it like 52:54:00:12:34:56`);
    for (const [at, ports] of publish.entries()) {
      const parsed = parsePublish(ports);
      if (typeof parsed === 'string') return wrong(['networks', index, 'publish', at], `"${ports}" ${parsed}`);
    }
  }
  for (const [variable, value] of Object.entries(env))
    if (!/^[^=\0]+$/.test(variable) || value.includes('\0'))
      return wrong(['env', variable], 'is no variable that a command could have');
  for (const field of ['user', 'workdir'] as const)
    if (config[field]?.includes('\0') === true) return wrong([field], NO_NUL);
  const nul = (config.kernelArguments ?? []).findIndex((word) => word.includes('\0'));
  if (nul >= 0) return wrong(['kernelArguments', nul], NO_NUL);
  if (workdir !== undefined && !workdir.startsWith('/'))
    return wrong(['workdir'], `"${workdir}" is no absolute path of the guest`);
  return undefined;
}

/** Whether it has a network card. */
export function hasCard(config: Pick<MachineConfig, 'networks'> | undefined): boolean {
  return config?.networks?.[0] !== undefined;
}

export function memoryBytesOf({ memory }: MachineConfig): number {
  const bytes = memorySize(String(memory), MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  return typeof bytes === 'string' ? 0 : bytes;
}
