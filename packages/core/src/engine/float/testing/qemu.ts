/** Builds the RISC-V program of guest-program.ts with Debian's cross compiler and runs it under QEMU's user emulation. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestProgram } from './guest-program.ts';

export const compiler = 'riscv64-linux-gnu-gcc';
export const emulator = 'qemu-riscv64';

/** Enough for the outcomes of eight million vectors. */
const outputLimitBytes = 128 << 20;

/** What is missing to run the oracle, as a sentence, or undefined when all is there. */
export function whatIsMissing(): string | undefined {
  const missing = [compiler, emulator].filter((command) => spawnSync(command, ['--version']).status !== 0);
  if (missing.length === 0) return undefined;
  return `${missing.join(' and ')} not found: install Debian's gcc-riscv64-linux-gnu and qemu-user to compare with QEMU`;
}

export class QemuOracle {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringfence-float-'));
  readonly #program = join(this.#folder, 'float');

  constructor() {
    const source = `${this.#program}.c`;
    writeFileSync(source, guestProgram());
    const options = [
      '-O1',
      '-static',
      '-nostdlib',
      '-ffreestanding',
      '-march=rv64gc',
      '-mabi=lp64d',
      '-o',
      this.#program,
      source,
    ];
    const built = spawnSync(compiler, options, { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`${compiler} cannot build the float oracle: ${built.stderr}`);
  }

  /** The outcomes of encoded vectors (of any operations), each from no accrued flags. */
  run(vectors: Uint8Array): Uint8Array {
    const done = spawnSync(emulator, [this.#program], { input: vectors, maxBuffer: outputLimitBytes });
    if (done.status !== 0)
      throw new Error(`${emulator} ended with status ${done.status ?? done.signal}: ${done.stderr.toString()}`);
    return done.stdout;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
