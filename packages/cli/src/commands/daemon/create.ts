/** `ringfence create`: a virtual machine that stays, which does not run yet. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import type { Creation, NewDisk } from '@ringfence/api';
import { parseSize } from '@ringfence/core/sizes';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { systemReason } from '@ringfence/host/failure';
import { EXIT } from '../../exit-codes.ts';
import { CliError } from '../../failure.ts';
import { overcommitOptions } from '../memory-options.ts';
import { processorOptions } from '../processor-options.ts';
import { variables } from '../../variables.ts';
import { reported, type Shape } from './report.ts';
import { done } from './verbs.ts';

export interface CreateMachineOptions extends Shape {
  readonly name?: string;
  readonly cpus?: string;
  readonly cpuShares?: string;
  readonly cpuReservation?: string;
  readonly cpuLimit?: string;
  readonly cpuBucket?: string;
  readonly memory?: string;
  readonly overcommit?: boolean;
  readonly label?: string;
  readonly memoryShares?: string;
  readonly memoryReservation?: string;
  readonly memoryLimit?: string;
  readonly disk: readonly string[];
  readonly net?: 'user' | 'none';
  readonly publish: readonly string[];
  readonly env: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly append?: string;
  readonly engine?: 'interpreter' | 'jit';
  readonly suite?: string;
  readonly mirror?: string;
  readonly packages?: string;
  readonly userData?: string;
  readonly metaData?: string;
  readonly networkConfig?: string;
}

export function createMachine(image: string, options: CreateMachineOptions): Promise<number> {
  return reported(options, async () => {
    const { name, cpus, memory, label, net, user, workdir, engine, suite, userData, metaData, networkConfig } = options;
    const mirror = options.mirror ?? process.env['RINGFENCE_MIRROR'];
    const wanted: Creation = {
      image,
      ...given({ name, memory, label, network: net, user, workdir, engine, suite, mirror }),
      ...(cpus === undefined ? {} : { cpus: Number(cpus) }),
      ...processorOptions(options),
      ...overcommitOptions(options),
      ...(options.packages === undefined ? {} : { packages: options.packages.split(',').filter(Boolean) }),
      ...(userData === undefined ? {} : { userData: textOf('--user-data', userData) }),
      ...(metaData === undefined ? {} : { metaData: textOf('--meta-data', metaData) }),
      ...(networkConfig === undefined ? {} : { networkConfig: textOf('--network-config', networkConfig) }),
      ...(options.append === undefined ? {} : { kernelArguments: options.append.split(/\s+/).filter(Boolean) }),
      disks: options.disk.map(diskOf),
      publish: [...options.publish],
      env: variables(options.env, process.env),
    };
    await done(connectDaemon(), 'vm.create', options, wanted);
  });
}

/** `10G` is an empty disk; anything else is an image to stand behind a new one. */
function diskOf(text: string): NewDisk {
  const [what = '', ...settings] = text.split(',');
  const unknown = settings.find((setting) => setting !== 'readonly');
  if (what === '' || unknown !== undefined)
    throw new CliError(
      `--disk "${text}" is neither a size like 10G nor an image, with ",readonly" or without`,
      EXIT.FAILED,
    );
  const readOnly = settings.length > 0 ? { readOnly: true } : {};
  return parseSize(what) === undefined ? { backing: resolve(what), ...readOnly } : { size: what, ...readOnly };
}

function textOf(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`${option} "${file}" cannot be read: ${systemReason(error)}`, EXIT.FAILED, error);
  }
}

function given<Fields extends Readonly<Record<string, unknown>>>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
