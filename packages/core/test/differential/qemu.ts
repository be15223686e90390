/**
 * The reference: QEMU's `virt` machine. RAM is a file that QEMU maps, so a program is put there before the start and its result is read
 * from there when it has switched the machine off.
 */

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPARED_BYTES, RAM_BYTES } from './places.ts';
import { type Program, type Without, writeImage } from './program.ts';
import { DID_NOT_END, type Ending, SWITCHED_OFF, type Subject } from './subject.ts';

export const EMULATOR = 'qemu-system-riscv64';
/** A program takes a fraction of a second. */
const LIMIT_MS = 20_000;

/** Extensions that programs use; those that this QEMU does not know, the programs' handler does (runtime.ts). */
const WANTED = ['zba', 'zbb', 'zbs', 'zicond', 'zicbom', 'zicboz', 'zawrs', 'svinval', 'svnapot', 'svpbmt', 'sstc'];
/** Extensions that would make legal what is illegal here. */
const UNWANTED = [
  'h',
  'v',
  'zbc',
  'zfa',
  'zacas',
  'zcb',
  'zcmp',
  'zcmt',
  'zimop',
  'zcmop',
  'zfh',
  'zfhmin',
  'zabha',
  'smepmp',
  'sscofpmf',
];

/** What is missing to run QEMU, as a sentence, or undefined. */
export function whatIsMissing(): string | undefined {
  if (spawnSync(EMULATOR, ['--version']).status === 0) return undefined;
  return `${EMULATOR} not found: install Debian's qemu-system-misc to compare with QEMU`;
}

export class Qemu implements Subject {
  readonly name = 'QEMU';
  readonly isForeign = true;
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringfence-differential-'));
  readonly #cpu: string;

  constructor() {
    const known = spawnSync(EMULATOR, ['-M', 'virt', '-device', 'rv64-riscv-cpu,help'], { encoding: 'utf8' }).stdout;
    const has = (option: string): boolean => new RegExp(`^\\s*${option}=<bool>`, 'm').test(known);
    const options = [
      ...WANTED.filter(has).map((option) => `${option}=on`),
      ...UNWANTED.filter(has).map((option) => `${option}=off`),
    ];
    this.#cpu = ['rv64', ...options].join(',');
  }

  async run(program: Program, without?: Without): Promise<Ending> {
    const path = join(this.#folder, 'ram');
    const memory = new Uint8Array(COMPARED_BYTES);
    writeImage(program, memory, without);
    const file = openSync(path, 'w+');
    try {
      ftruncateSync(file, RAM_BYTES);
      writeSync(file, memory, 0, memory.length, 0);
      const how = await this.#start(path);
      readSync(file, memory, 0, memory.length, 0);
      return { how, memory };
    } finally {
      closeSync(file);
    }
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #start(ram: string): Promise<string> {
    const megabytes = RAM_BYTES / 2 ** 20;
    const options = [
      ['-cpu', this.#cpu],
      ['-object', `memory-backend-file,id=ram,size=${megabytes}M,mem-path=${ram},share=on`],
      ['-M', 'virt,memory-backend=ram'],
      ['-m', String(megabytes)],
      ['-bios', 'none'],
      ['-display', 'none'],
      ['-serial', 'none'],
      ['-monitor', 'none'],
      ['-net', 'none'],
      // With room for a second hart, atomics are done as atomics and fault as such.
      ['-smp', '1,maxcpus=2'],
    ].flat();
    return new Promise((resolve, reject) => {
      const child = spawn(EMULATOR, options, { stdio: ['ignore', 'ignore', 'pipe'] });
      let complaints = '';
      child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
      const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
      child.on('error', reject);
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        if (signal === 'SIGKILL') resolve(DID_NOT_END);
        else if (code === 0) resolve(SWITCHED_OFF);
        else reject(new Error(`${EMULATOR} ended with status ${code ?? signal}: ${complaints}`));
      });
    });
  }
}
