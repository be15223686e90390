import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/numbers.ts';
import type { AgentFileStatus, AgentTreeStep } from './guest-agent.ts';
import { ProtocolViolation } from './guest-message.ts';
import { ENTRY_FLAG, ENTRY_RECORD_BYTES, MAXIMUM_DEPTH, RECORD } from './protocol.ts';
import { isName, joined, TreeDecoder } from './tree-decoder.ts';
import { encodeEnd, encodeStep } from './tree-encoder.ts';
import { WireWriter } from './wire.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function bytesOf(steps: readonly AgentTreeStep[]): Uint8Array {
  const writer = new WireWriter();
  for (const step of steps) for (const piece of encodeStep(step)) writer.bytes(piece);
  return writer.bytes(encodeEnd()).take();
}

function decoded(bytes: Uint8Array, cuts: readonly number[] = []): AgentTreeStep[] {
  const decoder = new TreeDecoder();
  const steps: AgentTreeStep[] = [];
  let from = 0;
  for (const cut of [...cuts.map((part) => part % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    steps.push(...decoder.push(bytes.subarray(from, cut)));
    from = cut;
  }
  expect(decoder.hasEnded).toBe(true);
  return steps;
}

const status = (kind: AgentFileStatus['kind'], more: Partial<AgentFileStatus> = {}): AgentFileStatus => ({
  kind,
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
  sizeBytes: 0,
  device: { major: 0, minor: 0 },
  target: new Uint8Array(0),
  ...more,
});

const entry = (kind: AgentFileStatus['kind'], ...path: string[]): AgentTreeStep => ({
  kind: 'entry',
  path: path.map(utf8),
  status: status(kind),
});

/** A record as a guest may send it. */
function record(
  kind: number,
  depth: number,
  name: Uint8Array,
  target: Uint8Array = new Uint8Array(0),
  flags = 0,
): Uint8Array {
  const header = new WireWriter().u8(kind).u8(flags).u16(name.length).u16(depth).u16(target.length);
  return header
    .bytes(new Uint8Array(ENTRY_RECORD_BYTES - header.length))
    .bytes(name)
    .bytes(target)
    .take();
}

const attributes = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.nat(),
  gid: fc.nat(),
  mtimeNs: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
  sizeBytes: fc.maxSafeNat(),
  device: fc.record({ major: fc.nat(), minor: fc.nat() }),
});
const nameBytes = fc.uint8Array({ minLength: 1, maxLength: 6 }).filter(isName);

/** A folder with everything in it, in the order in which an agent sends it. */
const tree = fc
  .uniqueArray(
    fc.tuple(
      nameBytes,
      fc.constantFrom<AgentFileStatus['kind']>('folder', 'file', 'symlink', 'fifo', 'character-device'),
      attributes,
      fc.uint8Array({ maxLength: 20 }),
    ),
    { maxLength: 12, selector: ([name]) => joined([name]).join() },
  )
  .map((children) => {
    const sorted = children.toSorted(([a], [b]) => compare(a, b));
    const steps: AgentTreeStep[] = [{ kind: 'entry', path: [], status: status('folder') }];
    let folder: Uint8Array[] = [];
    for (const [name, kind, more, content] of sorted) {
      const path = [...folder, name];
      const target = kind === 'symlink' ? utf8('somewhere/../else') : new Uint8Array(0);
      steps.push({ kind: 'entry', path, status: status(kind, { ...more, target }) });
      if (kind === 'file' && content.length > 0) steps.push({ kind: 'data', offsetBytes: 7, bytes: content });
      if (kind === 'folder') folder = path;
    }
    return steps;
  });

function compare(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

describe('a tree', () => {
  test('comes out as it went in, however it is cut', () => {
    fc.assert(
      fc.property(tree, fc.array(fc.nat(), { maxLength: 5 }), (steps, cuts) => {
        expect(decoded(bytesOf(steps), cuts)).toEqual(steps);
      }),
      { numRuns: 200 },
    );
  });

  test('of a hostile guest gives steps that can be followed, or nothing', () => {
    fc.assert(
      fc.property(tree, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (steps, changes) => {
        const bytes = bytesOf(steps);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const seen = new Set<string>();
        const folders = new Set<string>();
        try {
          for (const step of new TreeDecoder().push(bytes)) {
            if (step.kind === 'data') continue;
            const path = joined(step.path).join();
            // No name twice, and only in folders that this copy has made.
            expect(step.path.every(isName) && !seen.has(path)).toBe(true);
            seen.add(path);
            if (step.path.length > 0) expect(folders.has(joined(step.path.slice(0, -1)).join())).toBe(true);
            if (step.kind === 'entry' && step.status.kind === 'folder') folders.add(path);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test.each<[string, readonly Uint8Array[]]>([
    ['begins in no folder', [record(RECORD.FILE, 1, utf8('a'))]],
    ['has two roots', [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.FOLDER, 0, utf8(''))]],
    ['has a root with a name', [record(RECORD.FOLDER, 0, utf8('a'))]],
    ['leads up', [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.FILE, 1, utf8('..'))]],
    ['has a path for a name', [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.FILE, 1, utf8('a/b'))]],
    ['has no name', [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.FILE, 1, utf8(''))]],
    ['has a NUL in a name', [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.FILE, 1, utf8('a\0'))]],
    [
      'has a name twice',
      [
        record(RECORD.FOLDER, 0, utf8('')),
        record(RECORD.SYMLINK, 1, utf8('a'), utf8('/etc')),
        record(RECORD.FOLDER, 1, utf8('a')),
      ],
    ],
    [
      'goes through a link',
      [
        record(RECORD.FOLDER, 0, utf8('')),
        record(RECORD.SYMLINK, 1, utf8('a'), utf8('/etc')),
        record(RECORD.FILE, 2, utf8('passwd')),
      ],
    ],
    [
      'has a hard link to elsewhere',
      [record(RECORD.FOLDER, 0, utf8('')), record(RECORD.HARD_LINK, 1, utf8('a'), utf8('../etc/passwd'))],
    ],
    [
      'has a hard link to a file with one name',
      [
        record(RECORD.FOLDER, 0, utf8('')),
        record(RECORD.FILE, 1, utf8('a')),
        record(RECORD.HARD_LINK, 1, utf8('b'), utf8('a')),
      ],
    ],
    ['has a link to nowhere', [record(RECORD.SYMLINK, 0, utf8(''))]],
    ['has an end and goes on', [record(RECORD.FOLDER, 0, utf8('')), encodeEnd(), record(RECORD.FILE, 1, utf8('a'))]],
    ['ends before it begins', [encodeEnd()]],
    [
      'has data and no file',
      [record(RECORD.FOLDER, 0, utf8('')), new WireWriter().u32(RECORD.DATA).u32(1).u64(0n).u8(1).take()],
    ],
    [
      'has data twice',
      [
        record(RECORD.FILE, 0, utf8('')),
        new WireWriter().u32(RECORD.DATA).u32(1).u64(0n).u8(1).u32(RECORD.DATA).u32(1).u64(0n).u8(1).take(),
      ],
    ],
    [
      'has data of no bytes, of which there could be any number',
      [record(RECORD.FILE, 0, utf8('')), new WireWriter().u32(RECORD.DATA).u32(0).u64(0n).take()],
    ],
    [
      'has too much data at once',
      [
        record(RECORD.FILE, 0, utf8('')),
        new WireWriter()
          .u32(RECORD.DATA)
          .u32(1 << 20)
          .u64(0n)
          .take(),
      ],
    ],
    ['has a record of no kind', [record(99, 0, utf8(''))]],
    [
      'is too deep',
      Array.from({ length: MAXIMUM_DEPTH + 2 }, (_, depth) =>
        record(RECORD.FOLDER, depth, utf8(depth === 0 ? '' : 'a')),
      ),
    ],
  ])('is refused when it %s', (_, records) => {
    const writer = new WireWriter();
    for (const each of records) writer.bytes(each);
    expect(() => [...new TreeDecoder().push(writer.take())]).toThrow(ProtocolViolation);
  });

  test('has hard links to files of its own', () => {
    const writer = new WireWriter()
      .bytes(record(RECORD.FOLDER, 0, utf8('')))
      .bytes(record(RECORD.FOLDER, 1, utf8('a')))
      .bytes(record(RECORD.FILE, 2, utf8('b'), undefined, ENTRY_FLAG.MORE_NAMES))
      .bytes(record(RECORD.HARD_LINK, 1, utf8('c'), utf8('a/b')))
      .bytes(encodeEnd());
    expect(decoded(writer.take()).at(-1)).toEqual({ kind: 'hard-link', path: [utf8('c')], to: [utf8('a'), utf8('b')] });
  });

  test('takes no more memory than its hard links can name', () => {
    const decoder = new TreeDecoder();
    const name = utf8('a'.repeat(255));
    const push = (bytes: Uint8Array): void => void [...decoder.push(bytes)];
    for (let depth = 0; depth < MAXIMUM_DEPTH; depth++)
      push(record(RECORD.FOLDER, depth, depth === 0 ? utf8('') : name));
    const before = heapBytes();
    for (let file = 10_000; file < 11_000; file++)
      push(record(RECORD.FILE, MAXIMUM_DEPTH, utf8(String(file)), undefined, ENTRY_FLAG.MORE_NAMES));
    expect(heapBytes() - before).toBeLessThan(10 * MiB);
    expect(decoder.hasEnded).toBe(false);
  });

  test('that a caller makes cannot lead elsewhere either', () => {
    for (const path of [['..'], ['a/b'], [''], ['.'], ['a', '..']])
      expect(() => [...encodeStep(entry('file', ...path))]).toThrow('a path that is none');
  });
});
