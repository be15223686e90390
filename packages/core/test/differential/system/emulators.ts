/** Runs a program on QEMU and on Ringfence; both give the bytes that came out of the UART. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Machine } from '../../../src/machine/machine.ts';
import { nodeClock, nodeEntropy } from '../../../src/vm/testing/node-host.ts';

const QEMU = 'qemu-system-riscv64';
/** QEMU 7.2 has carry-less multiplication and the hypervisor extension by default, which Ringfence lacks. */
const CPU = 'rv64,zba=true,zbb=true,zbs=true,zbc=false,h=false,svinval=true';
const QEMU_LIMIT_MS = 60_000;
const OWN_LIMIT_MS = 60_000;
const MEMORY_MIB = 64;

/** What is missing to compare, as a sentence; undefined when all is there. */
export function whatIsMissing(): string | undefined {
  if (spawnSync(QEMU, ['--version']).status === 0) return undefined;
  return `${QEMU} not found: install Debian's qemu-system-misc to compare with QEMU`;
}

export class Qemu {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringfence-differential-'));

  run(elf: Uint8Array): Uint8Array {
    const [program, output] = [join(this.#folder, 'program.elf'), join(this.#folder, 'output')];
    writeFileSync(program, elf);
    const options = ['-M', 'virt', '-cpu', CPU, '-m', String(MEMORY_MIB), '-display', 'none', '-monitor', 'none'];
    const done = spawnSync(QEMU, [...options, '-serial', `file:${output}`, '-bios', 'none', '-kernel', program], {
      timeout: QEMU_LIMIT_MS,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (done.status !== 0)
      throw new Error(`${QEMU} ended with ${done.status ?? done.signal}: ${done.stderr.toString()}`);
    return readFileSync(output);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

export interface OwnRun {
  readonly output: Uint8Array;
  readonly instructions: number;
}

export async function runOwn(elf: Uint8Array): Promise<OwnRun> {
  const pieces: Uint8Array[] = [];
  const machine = await Machine.create({
    memoryBytes: MEMORY_MIB << 20,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: { write: (bytes) => void pieces.push(bytes.slice()) },
    firmware: 'none',
    kernel: { kind: 'kernel', name: 'program.elf', bytes: elf },
  });
  const end = performance.now() + OWN_LIMIT_MS;
  while (machine.ending === undefined) {
    machine.run(50);
    if (performance.now() > end) throw new Error(`Ringfence did not finish the program in ${OWN_LIMIT_MS} ms`);
  }
  return { output: Buffer.concat(pieces), instructions: machine.statistics()['instructions'] ?? 0 };
}
