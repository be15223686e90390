/**
 * GNU binutils' disassembler as the reference for ours (Debian's binutils-riscv64-linux-gnu). `objdump -b binary` knows RV64GC only, so
 * the words go into an ELF file whose attributes name our extensions; without symbols, or the assembler would mark them as data.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'riscv64-linux-gnu-';
/** All of ours that binutils 2.40 has a name for. */
const ARCHITECTURE = 'rv64imafdc_zicsr_zifencei_zihintpause_zicbom_zicboz_zawrs_zba_zbb_zbs_svinval';

/** Why a test against objdump cannot run here; undefined when it can. */
export function objdumpMissing(): string | undefined {
  const found = ['as', 'objcopy', 'objdump'].every((tool) => spawnSync(`${PREFIX}${tool}`, ['--version']).status === 0);
  return found ? undefined : 'binutils for riscv64 are not installed (Debian: apt install binutils-riscv64-linux-gnu)';
}

/** Such as `2.40`; undefined when there is no objdump. */
export function objdumpVersion(): string | undefined {
  const { stdout } = spawnSync(`${PREFIX}objdump`, ['--version'], { encoding: 'utf8' });
  return /(\d+\.\d+)\s*$/m.exec(stdout ?? '')?.[1];
}

/** objdump's text of each instruction word, placed one after another from address 0: `addresses[i]` is where word i lies. */
export function objdump(words: readonly number[]): { texts: string[]; addresses: number[] } {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-objdump-'));
  try {
    const { bytes, addresses } = concatenate(words);
    writeFileSync(join(folder, 'words'), bytes);
    writeFileSync(join(folder, 'empty.s'), `.attribute arch, "${ARCHITECTURE}"\n.text\n.insn 4, 0x13\n`);
    const run = (tool: string, ...args: string[]): void => void execFileSync(`${PREFIX}${tool}`, args, { cwd: folder });
    run('as', '-march=rv64gc', '-o', 'empty.o', 'empty.s');
    run('objcopy', '--strip-unneeded', 'empty.o', 'bare.o');
    run('objcopy', '--update-section', '.text=words', 'bare.o', 'words.o');
    execFileSync('sh', ['-c', `${PREFIX}objdump -d -z -M no-aliases,numeric words.o > listing`], { cwd: folder });
    return { texts: readListing(readFileSync(join(folder, 'listing'), 'latin1'), addresses), addresses };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function concatenate(words: readonly number[]): { bytes: Uint8Array; addresses: number[] } {
  const view = new DataView(new ArrayBuffer(words.length * 4));
  const addresses: number[] = [];
  let size = 0;
  for (const word of words) {
    addresses.push(size);
    if ((word & 3) === 3) view.setUint32(size, word, true);
    else view.setUint16(size, word, true);
    size += (word & 3) === 3 ? 4 : 2;
  }
  return { bytes: new Uint8Array(view.buffer, 0, size), addresses };
}

/** Lines are `  1c:\t00b57553          \tfadd.s\tf10,f10,f11`. */
function readListing(listing: string, addresses: readonly number[]): string[] {
  const texts = new Map<number, string>();
  for (const line of listing.split('\n')) {
    const [address, , ...text] = line.split('\t');
    if (text.length > 0 && address?.endsWith(':')) texts.set(Number.parseInt(address, 16), text.join('\t').trim());
  }
  return addresses.map((address) => {
    const text = texts.get(address);
    if (text === undefined) throw new Error(`objdump gave no instruction at address 0x${address.toString(16)}`);
    return text;
  });
}
