/** Turns verified packages into a kernel and an initrd. */

import { ImageError } from '../image-error.ts';
import { plainImage } from '../linux/kernel-image.ts';
import { ModuleSet } from '../linux/module-set.ts';
import { initramfs, WANTED_MODULES, type Library } from '../tiny/initramfs.ts';
import type { ImageFiles } from './cache.ts';
import { decompress } from './decompress.ts';
import { packageFiles, unpackedFile, type LocalPackage, type Reading } from './package-files.ts';

export interface BuildPlan extends Reading {
  readonly kernelVersion: string;
  readonly kernelPackages: readonly LocalPackage[];
  readonly busyboxPackages: readonly LocalPackage[];
  readonly init: string;
  readonly agent: Uint8Array;
  readonly title: string;
  /** Seconds since 1970. */
  readonly modifiedAt: number;
}

/** Modules that only other modules ask for. Naming them saves a second pass over the package; a wrong name does no harm. */
const LIKELY_DEPENDENCIES = [
  'crc16',
  'crc32c_cryptoapi',
  'libcrc32c',
  'failover',
  'fat',
  'fscache',
  'jbd2',
  'mbcache',
  'net_failover',
  'netfs',
  '9pnet',
];
const MAX_PASSES = 4;

export async function buildImage(plan: BuildPlan): Promise<ImageFiles> {
  const { kernel, modules } = await readKernelPackages(plan);
  const { busybox, libraries } = await readBusyboxPackages(plan);
  return { kernel, initrd: initramfs({ ...plan, busybox, libraries, modules: modules.modules() }) };
}

async function readKernelPackages(plan: BuildPlan): Promise<{ kernel: Uint8Array; modules: ModuleSet }> {
  const version = plan.kernelVersion.replaceAll(/\W/g, String.raw`\$&`);
  const kernelPath = new RegExp(`^(?:boot/vmlinu[xz]-${version}|(?:usr/)?lib/modules/${version}/vmlinu[xz])$`);
  const modulePath = new RegExp(`^(?:usr/)?lib/modules/${version}/(kernel/.*\\.ko)(?:\\.(?:xz|zst|gz))?$`);
  const modules = new ModuleSet([...WANTED_MODULES, ...LIKELY_DEPENDENCIES]);
  let kernel: Uint8Array | undefined;
  let kernelName = '';

  for (let pass = 1; pass <= MAX_PASSES; pass++) {
    // Modules are unpacked only after the package is done with: only one xz stream can be read at a time.
    const packed: { path: string; name: string; content: Uint8Array }[] = [];
    for await (const entry of packageFiles(plan.kernelPackages, plan)) {
      if (kernel === undefined && kernelPath.test(entry.name)) {
        kernel = await entry.read();
        kernelName = entry.name;
      }
      const path = modulePath.exec(entry.name)?.[1];
      if (path !== undefined && modules.wants(path))
        packed.push({ path, name: entry.name, content: await entry.read() });
    }
    for (const { path, name, content } of packed) modules.add(path, await unpackedFile(name, content));
    if (modules.missing().length === 0) break;
    if (packed.length === 0)
      throw new ImageError(
        'bad-format',
        `The kernel's package lacks modules that others need: ${modules.missing().join(', ')}.`,
      );
  }
  if (kernel === undefined)
    throw new ImageError('bad-format', `The package of kernel ${plan.kernelVersion} holds no kernel.`);
  return { kernel: await plainImage(kernel, kernelName, decompress), modules };
}

async function readBusyboxPackages(plan: BuildPlan): Promise<{ busybox: Uint8Array; libraries: Library[] }> {
  const libraries: Library[] = [];
  let busybox: Uint8Array | undefined;
  for await (const entry of packageFiles(plan.busyboxPackages, plan)) {
    if (/^(?:usr\/)?bin\/busybox$/.test(entry.name)) busybox = await entry.read();
    const path = /^(?:usr\/)?lib\/((?:riscv64-linux-gnu\/)?[^/]+\.so(?:\.[\d.]+)?)$/.exec(entry.name)?.[1];
    if (path !== undefined && entry.kind === 'symbolic-link')
      libraries.push({ path, content: { target: entry.target } });
    if (path !== undefined && entry.kind === 'file') libraries.push({ path, content: await entry.read() });
  }
  if (busybox === undefined) throw new ImageError('bad-format', 'The package of busybox holds no busybox.');
  return { busybox, libraries };
}
