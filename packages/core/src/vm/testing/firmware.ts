/** Firmware from Debian's packages that tests boot. In CI it must be there; elsewhere a test without its file is skipped, and says so. */

import { existsSync, readFileSync } from 'node:fs';
import type { Payload } from '../../machine/loader/payload.ts';

interface DebianFile {
  readonly path: string;
  readonly debianPackage: string;
  readonly kind: Payload['kind'];
}

/** OpenSBI that is told where to go by QEMU's `fw_dynamic` structure. */
export const OPENSBI: DebianFile = {
  path: '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin',
  debianPackage: 'opensbi',
  kind: 'firmware',
};

/** U-Boot made for S-mode, which is what OpenSBI starts. */
export const U_BOOT: DebianFile = {
  path: '/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin',
  debianPackage: 'u-boot-qemu',
  kind: 'kernel',
};

/** Why a test that needs these cannot run here, as the end of its name; undefined when it can or must. */
export function missing(...files: readonly DebianFile[]): string | undefined {
  if (process.env['CI'] !== undefined) return undefined;
  const absent = files.filter(({ path }) => !existsSync(path));
  return absent.length === 0
    ? undefined
    : `needs Debian's ${absent.map(({ debianPackage }) => debianPackage).join(' and ')}`;
}

export function debianFile({ path, kind }: DebianFile): Payload {
  return { kind, name: path, bytes: readFileSync(path) };
}
