/** How the two sides are started: the same machine, kernel, initrd and command line. */

import { join } from 'node:path';
import type { EngineCommand } from './guest-run.ts';

export interface Guest {
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly commandLine: string;
}

export const MEMORY_MIB = 512;
export const QEMU = 'qemu-system-riscv64';

/** One hart, no device that is not asked for, QEMU's own firmware in front of the kernel. */
export function qemuCommand({ kernelPath, initrdPath, commandLine }: Guest): EngineCommand {
  return {
    label: 'QEMU',
    program: QEMU,
    // oxfmt-ignore
    programArguments: [
      '-M', 'virt', '-smp', '1', '-m', String(MEMORY_MIB),
      '-nodefaults', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio',
      '-kernel', kernelPath, '-initrd', initrdPath, '-append', commandLine,
    ],
    reports: false,
  };
}

export function ringfenceCommand(engine: string, { kernelPath, initrdPath, commandLine }: Guest): EngineCommand {
  const script = join(import.meta.dirname, 'ringfence-machine.ts');
  return {
    label: `Ringfence (${engine})`,
    program: process.execPath,
    programArguments: [script, engine, String(MEMORY_MIB * 1024 ** 2), kernelPath, initrdPath, commandLine],
    reports: true,
  };
}
