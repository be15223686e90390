/** Builds the guest agent as it is committed: Debian's cross compiler, nothing of a C library, no name or date of the machine that builds. */

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const COMPILER = 'riscv64-linux-gnu-gcc';
const FOLDER = join(import.meta.dirname, '../../agent');

/** The program as it is committed, and which compiler made it. */
export const AGENT_PROGRAM = join(FOLDER, 'ringfence-agent');
export const AGENT_COMPILER = join(FOLDER, 'compiler.txt');

/** Only the kernel is there at run time. */
const FREESTANDING =
  '-std=gnu11 -march=rv64gc -mabi=lp64d -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector';
/** No tables for unwinding, no functions that nobody calls, few pages. What memcpy is made of must not become a call of memcpy. */
const SMALL =
  '-Os -s -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-ident -ffunction-sections -fdata-sections ' +
  '-fno-tree-loop-distribute-patterns -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noexecstack -Wl,-z,noseparate-code';
const OPTIONS = `${FREESTANDING} ${SMALL} -Wall -Wextra -Werror`.split(' ');

/** Builds it into the file `program`. */
export function buildAgent(program: string): void {
  const sources = readdirSync(FOLDER).filter((name) => name.endsWith('.c'));
  execFileSync(COMPILER, [...OPTIONS, '-o', program, ...sources.toSorted()], { cwd: FOLDER, stdio: 'pipe' });
}

/** Which compiler this machine has; undefined when it has none. */
export function compilerVersion(): string | undefined {
  try {
    const [first] = execFileSync(COMPILER, ['--version'], { encoding: 'utf8' }).split('\n');
    return first;
  } catch {
    return undefined;
  }
}
