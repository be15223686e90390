/**
 * Random FUSE requests against a folder of this computer, whose links lead out of it: nothing beside the folder is read or changed, every
 * request is answered, and nothing stays open. RINGFENCE_SHARE_RUNS says how many sequences; `npm run share:fuzz` is for long.
 */

import { Buffer } from 'node:buffer';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import fc from 'fast-check';
import { OPCODE, entryOf, mounted, struct, type Mounted } from '@ringfence/core/testing/fuse';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SharedTree } from '../src/share/shared-tree.ts';
import { SystemCalls } from '../src/share/system-calls.ts';

const RUNS = Number(process.env['RINGFENCE_SHARE_RUNS'] ?? 25);
const TIMEOUT_MS = 60_000 + RUNS * 1000;
/** Lies beside the folder, and is in no request. */
const SECRET = 'what lies outside is nobody’s business';

const HONEST_NAMES = ['a', 'b', 'dir', 'sub', 'new', 'out', 'secret', 'file', 'up', 'absolute', 'user.word'];
const HOSTILE_NAMES = ['..', '.', '', '/', '../outside', '../outside/secret', 'dir/../..', '/etc', 'a\u0000b'].concat([
  'user.',
  'security.capability',
  'system.posix_acl_access',
  '../../etc/passwd',
  '/proc/self/root',
  'x'.repeat(256),
]);
/** Small enough for any disk, and what no file can have. */
const SIZES = [0n, 1n, 7n, 4096n, 100_000n, -1n, 2n ** 63n - 1n];
const MODES = [0o644, 0o755, 0, 0o4777, 0o010644, 0o040755, 0o120777, 0o140600, 0o020666, 0o060666];

/**
 * Bodies as Linux sends them (include/uapi/linux/fuse.h): h a handle, n a node, s a size or offset of 64 bits, t one of 32, d the length
 * of the data, f flags, m a mode, 4 and 8 anything of so many bytes, N a name, D data.
 */
const BODIES: Readonly<Partial<Record<keyof typeof OPCODE, string>>> = {
  LOOKUP: 'N',
  GETATTR: 'f4h',
  SETATTR: 'f4hs8sss444m444',
  READLINK: '',
  SYMLINK: 'NN',
  MKNOD: 'm444N',
  MKDIR: 'm4N',
  UNLINK: 'N',
  RMDIR: 'N',
  RENAME: 'nNN',
  LINK: 'nN',
  OPEN: 'f4',
  READ: 'hst4844',
  WRITE: 'hsd484fD',
  STATFS: '',
  RELEASE: 'hf48',
  FSYNC: 'h44',
  SETXATTR: 'd444ND',
  GETXATTR: 't4N',
  LISTXATTR: 't4',
  REMOVEXATTR: 'N',
  FLUSH: 'h448',
  OPENDIR: 'f4',
  READDIR: 'hst4844',
  READDIRPLUS: 'hst4844',
  RELEASEDIR: 'hf48',
  FSYNCDIR: 'h44',
  ACCESS: 'f4',
  CREATE: 'fm44N',
  FALLOCATE: 'hssf4',
  RENAME2: 'nf4NN',
  LSEEK: 'hsf4',
  COPY_FILE_RANGE: 'hsnhss44',
  SYNCFS: '8',
};
const KINDS = Object.keys(BODIES) as (keyof typeof OPCODE)[];
const GIVES_NODE: readonly string[] = ['LOOKUP', 'SYMLINK', 'MKNOD', 'MKDIR', 'LINK', 'CREATE'];
const GIVES_HANDLE: readonly string[] = ['OPEN', 'OPENDIR'];
const ANSWER_BYTES = 8192;
/** The first nodes that a guest knows here are folders. */
const FOLDERS = 2;
/** Of struct fuse_entry_out, behind which CREATE has the handle. */
const ENTRY_BYTES = 128;

const step = fc.record({
  kind: fc.constantFrom(...KINDS),
  /** What the fields are made of. */
  dice: fc.array(fc.nat(0xffff), { minLength: 16, maxLength: 16 }),
  data: fc.uint8Array({ maxLength: 300 }),
  /** Cut off, or longer than Linux has it. */
  cut: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: -20, max: 20 }) }),
  isRoot: fc.boolean(),
  /** The next one does not wait for it. */
  beside: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What the guest has been told, and can ask with. */
interface Known {
  readonly nodes: number[];
  readonly opened: { readonly node: number; readonly handle: bigint; readonly isFolder: boolean }[];
}

/** A request that may have an effect: mostly of an open file for what wants one, of a folder for what wants a name. */
function requestOf({ kind, dice, data, cut }: Step, { nodes, opened }: Known): { node: number; body: Uint8Array } {
  let at = 0;
  const throwDice = (): number => dice[at++ % dice.length] ?? 0;
  const one = <T>(list: readonly T[]): T => list[throwDice() % list.length] as T;
  const likely = opened.filter(({ isFolder }) => isFolder === kind.includes('DIR'));
  const open = likely.length > 0 && throwDice() % 8 > 0 ? one(likely) : undefined;
  const folders = throwDice() % 8 > 3 ? nodes.slice(0, FOLDERS) : nodes;
  const shape = BODIES[kind] ?? '';
  const node = shape.includes('h') && open !== undefined ? open.node : one(shape.endsWith('N') ? folders : nodes);
  const fields = [...shape].map((field) => {
    switch (field) {
      case 'h':
        return open?.handle ?? BigInt(throwDice() % 9);
      case 'n':
        return BigInt(one(nodes));
      case 's':
        return one(SIZES);
      case 't':
        return throwDice() % ANSWER_BYTES;
      case 'd':
        return throwDice() % 8 > 0 ? data.length : throwDice();
      case 'f':
        return throwDice() % 3 === 0 ? throwDice() | (throwDice() << 16) : throwDice() % 4;
      case 'm':
        return one(MODES);
      case '8':
        return BigInt(throwDice());
      case 'N':
        return one(throwDice() % 4 > 0 ? HONEST_NAMES : HOSTILE_NAMES);
      case 'D':
        return data;
      default:
        return throwDice() % 4 === 0 ? throwDice() : 0;
    }
  });
  const whole = struct(...fields);
  const body =
    cut < 0 ? whole.subarray(0, Math.max(0, whole.length + cut)) : Buffer.concat([whole, new Uint8Array(cut)]);
  return { node, body };
}

async function ask({ guest }: Mounted, asked: Step, known: Known): Promise<void> {
  const user = asked.isRoot ? 0 : 1000;
  const { node, body } = requestOf(asked, known);
  const header = { opcode: OPCODE[asked.kind], node, uid: user, gid: user };
  const answer = await guest.raw(header, body, ANSWER_BYTES);
  expect(Buffer.from(answer.body).includes(SECRET)).toBe(false);
  if (answer.errno !== 0) return;
  const handleAt = (offset: number): bigint => Buffer.from(answer.body).readBigUInt64LE(offset);
  const isFolder = asked.kind === 'OPENDIR';
  if (GIVES_NODE.includes(asked.kind)) known.nodes.push(entryOf(answer.body).node);
  if (asked.kind === 'CREATE')
    known.opened.push({ node: known.nodes.at(-1) ?? 1, handle: handleAt(ENTRY_BYTES), isFolder });
  if (GIVES_HANDLE.includes(asked.kind)) known.opened.push({ node, handle: handleAt(0), isFolder });
}

/** All that a change of a file or of its content would change. */
function stateOf(path: string): string {
  const { mode, nlink, uid, gid, size, mtimeNs, ctimeNs, ino } = lstatSync(path, { bigint: true });
  return [path, mode, nlink, uid, gid, size, mtimeNs, ctimeNs, ino].join(' ');
}

let calls: SystemCalls | undefined;
beforeAll(async () => {
  calls = await SystemCalls.start();
});
afterAll(() => calls?.close());

async function play(steps: readonly Step[], withCalls: boolean): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'ringfence-share-fuzz-'));
  const [outside, folder] = [join(base, 'outside'), join(base, 'shared')];
  const secret = join(outside, 'secret');
  mkdirSync(outside);
  writeFileSync(secret, SECRET);
  mkdirSync(join(folder, 'dir/sub'), { recursive: true });
  for (const name of ['a', 'dir/b']) writeFileSync(join(folder, name), `content of ${name}`);
  symlinkSync('../outside', join(folder, 'out'));
  symlinkSync(secret, join(folder, 'file'));
  symlinkSync('../../outside/secret', join(folder, 'dir/up'));
  symlinkSync('/', join(folder, 'dir/absolute'));
  const before = [outside, secret].map(stateOf);
  const tree = await SharedTree.open(folder, withCalls && calls !== undefined ? { calls } : {});
  const share = await mounted({ tree });
  try {
    const known: Known = { nodes: [1], opened: [] };
    for (const name of ['dir', 'a', 'out', 'file']) known.nodes.push((await share.guest.lookup(1, name)).node);
    let under: Promise<void>[] = [];
    for (const one of steps) {
      under.push(ask(share, one, known));
      if (one.beside) continue;
      await Promise.all(under);
      under = [];
    }
    await Promise.all(under);
  } finally {
    await share.end();
    await tree.close();
  }
  expect(tree.openDescriptors).toBe(0);
  expect([outside, secret].map(stateOf)).toEqual(before);
  expect(readFileSync(secret, 'utf8')).toBe(SECRET);
  expect([readdirSync(base).toSorted(), readdirSync(outside)]).toEqual([['outside', 'shared'], ['secret']]);
  rmSync(base, { recursive: true });
}

test.each([
  ['with system calls', true],
  ['with what Node has', false],
] as const)(
  'random requests %s neither read nor change what lies beside the folder',
  async (_how, withCalls) => {
    let requests = 0;
    const property = fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150, size: 'max' }), async (steps) => {
      requests += steps.length;
      await play(steps, withCalls);
    });
    await fc.assert(property, { numRuns: RUNS });
    expect(requests).toBeGreaterThan(20 * RUNS - 1);
    if (process.env['RINGFENCE_SHARE_RUNS'] !== undefined) console.log(`${requests} requests ${_how}`);
  },
  TIMEOUT_MS,
);
