/** The kernel of the image `debian` and its modules: read out of the kernel's packages in one pass, nothing compressed, nothing that no VM uses. */

import { ImageError } from '../image-error.ts';
import { plainImage } from '../linux/kernel-image.ts';
import { ModuleSet, type KernelModule } from '../linux/module-set.ts';
import { stripModule } from '../linux/strip-module.ts';
import { BOOT_MODULES, isUsefulModule } from '../system/base.ts';
import { decompress } from './decompress.ts';
import { packageFiles, unpackedFile, type LocalPackage, type Reading } from './package-files.ts';

export interface KernelTree {
  readonly kernel: Uint8Array;
  /** What the initrd has to have. */
  readonly bootModules: readonly KernelModule[];
  /** Files below lib/modules/VERSION. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** depmod(8) reads these; the rest of what lies beside the modules it makes. */
const LISTS = /^modules\.(?:builtin|builtin\.modinfo|order)$/;

export async function readKernelTree(
  packages: readonly LocalPackage[],
  version: string,
  reading: Reading,
): Promise<KernelTree> {
  const escaped = version.replaceAll(/\W/g, String.raw`\$&`);
  const kernelPath = new RegExp(`^(?:boot/vmlinu[xz]-${escaped}|(?:usr/)?lib/modules/${escaped}/vmlinu[xz])$`);
  const treePath = new RegExp(`^(?:usr/)?lib/modules/${escaped}/(.*)$`);
  const packed: { readonly path: string; readonly name: string; readonly content: Uint8Array }[] = [];
  const files = new Map<string, Uint8Array>();
  let kernel: { readonly name: string; readonly content: Uint8Array } | undefined;
  for await (const entry of packageFiles(packages, reading)) {
    if (entry.kind !== 'file') continue;
    if (kernel === undefined && kernelPath.test(entry.name)) kernel = { name: entry.name, content: await entry.read() };
    const path = treePath.exec(entry.name)?.[1] ?? '';
    if (LISTS.test(path)) files.set(path, await entry.read());
    const module = /^(kernel\/.*\.ko)(?:\.(?:xz|zst|gz))?$/.exec(path)?.[1];
    if (module !== undefined && isUsefulModule(module))
      packed.push({ path: module, name: entry.name, content: await entry.read() });
  }
  if (kernel === undefined) throw new ImageError('bad-format', `The package of kernel ${version} holds no kernel.`);

  // Only one xz stream can be read at a time, so modules are unpacked when the package is done with.
  const plain = new Map<string, Uint8Array>();
  for (const { path, name, content } of packed) {
    reading.signal?.throwIfAborted();
    plain.set(path, await unpackedFile(name, content));
  }
  const boot = new ModuleSet(BOOT_MODULES);
  for (let added = true; added && boot.missing().length >= 0;) {
    added = false;
    for (const [path, content] of plain) {
      if (!boot.wants(path)) continue;
      boot.add(path, content);
      added = true;
    }
  }
  if (boot.missing().length > 0)
    throw new ImageError('bad-format', `The kernel's package lacks modules: ${boot.missing().join(', ')}.`);
  for (const [path, content] of plain) files.set(path, stripModule(content, path));
  return { kernel: await plainImage(kernel.content, kernel.name, decompress), bootModules: boot.modules(), files };
}
