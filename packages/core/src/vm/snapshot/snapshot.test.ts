import { beforeAll, describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { Random } from '../../engine/float/testing/vectors.ts';
import { Machine } from '../../machine/machine.ts';
import { bareMachine } from '../../machine/testing/bare-machine.ts';
import { blankMachine } from '../../machine/testing/blank-machine.ts';
import { INDEX_FILE, MANIFEST_FILE, PAGES_FILE } from './manifest.ts';
import { MAXIMUM_PACKS } from './page-index.ts';
import { restoreInto } from './open-snapshot.ts';
import { MemoryFiles, MemorySnapshots, testCodec } from './testing/memory-snapshots.ts';

/** Fills 256 KiB with numbers, adds them up again and again, and shows the sum; ends when it was told to in `stop`. */
const PROGRAM = `
      la   s0, table
      li   s1, 0x8000
      li   s2, 0
1:    slli t0, s2, 3
      add  t0, t0, s0
      sd   s2, 0(t0)
      addi s2, s2, 1
      bne  s2, s1, 1b
2:    li   s2, 0
      li   s3, 0
3:    slli t0, s2, 3
      add  t0, t0, s0
      ld   t1, 0(t0)
      add  s3, s3, t1
      addi s2, s2, 1
      bne  s2, s1, 3b
      la   t0, sum
      sd   s3, 0(t0)
      la   t0, rounds
      ld   t1, 0(t0)
      addi t1, t1, 1
      sd   t1, 0(t0)
      la   t0, stop
      ld   t1, 0(t0)
      beqz t1, 2b
      la   t0, tohost
      li   t1, 1
      sd   t1, 0(t0)
4:    wfi
      j    4b
      .balign 4096
sum:    .dword 0
rounds: .dword 0
stop:   .dword 0
tohost: .dword 0
fromhost: .dword 0
      .balign 4096
table:  .dword 0`;
const SUM = (0x8000n * 0x7fffn) / 2n;
/** The same snapshot as the third version of the format has it: frames with their SHA-256, and the digest of those in the manifest. */
function asVersion3(snapshot: MemoryFiles): MemoryFiles {
  const { digest } = testCodec();
  const [index, pages, manifest] = [INDEX_FILE, PAGES_FILE, MANIFEST_FILE].map((name) =>
    Buffer.from(snapshot.files.get(name) ?? Buffer.alloc(0)),
  );
  if (!index || !pages || !manifest) throw new Error('a snapshot has three files');
  const frames = index.readUInt32LE(16);
  const heads = Array.from({ length: frames }, (_, n) => index.subarray(24 + 20 * n, 24 + 20 * n + 16));
  const sums = heads.map((head) => {
    const at = head.readUInt32LE(0);
    return Buffer.from(digest(pages.subarray(at, at + head.readUInt32LE(8))), 'hex');
  });
  const made = Buffer.concat([
    Buffer.from('RFpages1'),
    index.subarray(8, 24),
    ...heads.flatMap((head, n) => [head, sums[n] ?? Buffer.alloc(32)]),
    index.subarray(24 + 20 * frames),
  ]);
  const text = manifest
    .toString()
    .replace('"version":4', '"version":3')
    .replace(/"index":\{[^}]*\}/, `"index":{"bytes":${made.length},"sha256":"${digest(made)}"}`)
    .replace(/"sha256":"[0-9a-f]{64}","of":"frames"/, `"sha256":"${digest(Buffer.concat(sums))}","of":"frames"`)
    .replace(/,"digest".*\n/, '');
  const files = new MemoryFiles();
  files.files.set(INDEX_FILE, made);
  files.files.set(PAGES_FILE, pages);
  files.files.set(MANIFEST_FILE, Buffer.from(`${text},"digest":"${digest(Buffer.from(text))}"}\n`));
  return files;
}

const realClock = {
  monotonicNs: (): number => Math.floor(performance.now() * 1e6),
  wallNs: (): bigint => BigInt(Date.now()) * 1_000_000n,
};

const blank = (more: Parameters<typeof blankMachine>[0] = {}): Promise<Machine> =>
  blankMachine({ clock: realClock, entropy: { fill: () => {} }, ...more });

const dword = (machine: Machine, address: bigint | undefined): bigint => {
  const bytes = new Uint8Array(8);
  machine.ram.read(Number(address), bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
};

describe('a snapshot', () => {
  const store = new MemorySnapshots();
  let symbols: ReadonlyMap<string, bigint>;
  let first: string;
  let second: string;
  let original: bigint;
  let statistics: { readonly taken: number; readonly own: number }[];
  /** Turns until the program has been through its table once. */
  const runRounds = (machine: Machine, count: bigint): void => {
    const until = dword(machine, symbols.get('rounds')) + count;
    while (dword(machine, symbols.get('rounds')) < until) machine.run(1);
  };
  const stopped = (machine: Machine): bigint => {
    machine.ram.write(Number(symbols.get('stop')), Uint8Array.of(1));
    while (machine.run(1).kind !== 'ended');
    return dword(machine, symbols.get('sum'));
  };

  beforeAll(async () => {
    const bare = await bareMachine(PROGRAM, { clock: realClock });
    symbols = bare.symbols;
    runRounds(bare.machine, 1n);
    const one = await store.take(bare.machine);
    first = one.manifest.id;
    runRounds(bare.machine, 1n);
    const two = await store.take(bare.machine, { parent: store.open(first) });
    second = two.manifest.id;
    statistics = [one.pages, two.pages];
    original = stopped(bare.machine);
  });

  test('holds a machine that goes on, and where it builds on another only what changed', async () => {
    expect(original).toBe(SUM);
    expect(statistics[0]?.own).toBeGreaterThan(64);
    expect(statistics[1]?.own).toBeLessThan(4);
    expect(statistics[1]?.taken).toBe(statistics[0]?.taken);
    for (const id of [first, second]) {
      const machine = await blank();
      restoreInto(machine, store.open(id));
      expect(stopped(machine)).toBe(SUM);
      expect(machine.ending).toEqual({ kind: 'poweroff' });
    }
  });

  test('is loaded as its pages are touched', async () => {
    const machine = await blank();
    const snapshot = store.open(first);
    restoreInto(machine, snapshot);
    expect(snapshot.source.loaded.length).toBe(0);
    dword(machine, symbols.get('sum'));
    expect(snapshot.source.loaded.length).toBe(1);
  });

  test('of a machine that has not loaded all of its own takes the rest from there', async () => {
    const machine = await blank();
    const parent = store.open(first);
    restoreInto(machine, parent);
    const { manifest, pages } = await store.take(machine, { parent });
    expect(pages.own).toBe(0);
    const whole = await store.take(machine);
    expect(whole.pages.own).toBe(statistics[0]?.own);
    for (const id of [manifest.id, whole.manifest.id]) {
      const again = await blank();
      restoreInto(again, store.open(id));
      expect(stopped(again)).toBe(SUM);
    }
  });

  test.each([
    ['a machine with other memory', { memoryBytes: 8 << 20 }, /4194304 bytes of memory and 1 harts/],
    ['a machine with other harts', { harts: 2 }, /and this one has 4194304 and 2/],
    ['a machine with another device', { consolePorts: [{ name: 'more' }] }, /does not fit this machine/],
  ])('is refused by %s', async (_, options, words) => {
    const machine = await blank(options);
    expect(() => restoreInto(machine, store.open(first))).toThrow(words);
  });

  test('that was written before packs were known by their frames is read as ever', () => {
    const whole = store.byId.get(first);
    const files = new MemoryFiles();
    for (const [name, bytes] of whole?.files ?? []) files.files.set(name, bytes);
    const { digest } = testCodec();
    const written = (of: Uint8Array): void => {
      const text = (whole?.files.get(MANIFEST_FILE)?.toString() ?? '')
        .replace('"version":4', '"version":2')
        .replace(/"sha256":"[0-9a-f]{64}","of":"frames"/, `"sha256":"${digest(of)}"`)
        .replace(/,"digest".*\n/, '');
      files.files.set(MANIFEST_FILE, Buffer.from(`${text},"digest":"${digest(Buffer.from(text))}"}\n`));
    };
    store.byId.set('before', files);
    const pages = whole?.files.get(PAGES_FILE) ?? Buffer.alloc(0);
    written(pages);
    expect(store.open('before').manifest.memory.packs[0]?.of).toBeUndefined();
    written(pages.subarray(1));
    expect(() => store.open('before')).toThrow(/the pages of the snapshot .* are not what was written/);
  });

  test('that was written when frames were known by their SHA-256 is read as ever, and others build on it', async () => {
    const earlier = new MemorySnapshots();
    const files = asVersion3(store.byId.get(first) ?? new MemoryFiles());
    earlier.byId.set(first, files);
    // The first number is taken.
    await earlier.take(await blank());
    earlier.byId.set(first, files);
    const machine = await blank();
    const parent = earlier.open(first);
    restoreInto(machine, parent);
    const point = await earlier.hold(machine, { parent });
    const { manifest, pages: written } = await point.write();
    expect(written.own).toBe(0);
    const [child, again] = [earlier.open(manifest.id), await blank()];
    restoreInto(again, child);
    const [one, other] = [new Uint8Array(PAGE_SIZE), new Uint8Array(PAGE_SIZE)];
    for (const page of child.index.pages) {
      child.source.load(page, one);
      parent.source.load(page, other);
      expect(Buffer.compare(one, other)).toBe(0);
    }
    expect(child.index.pages).toEqual(parent.index.pages);
    const pages = files.files.get(PAGES_FILE);
    pages?.writeUInt8((pages[9] ?? 0) ^ 1, 9);
    expect(() => earlier.open(first)).toThrow(/the pages of the snapshot .* are not what was written/);
  });

  test('of another version is refused with what made it', () => {
    const files = new MemoryFiles();
    const manifest = store.byId.get(first)?.files.get(MANIFEST_FILE)?.toString() ?? '';
    files.files.set(MANIFEST_FILE, Buffer.from(manifest.replace('"version":4', '"version":5')));
    store.byId.set('other', files);
    expect(() => store.open('other')).toThrow(/has version 5 of the format, and this Ringfence reads versions up to 4/);
    const layout = manifest.replace(/"stateLayout":"../, '"stateLayout":"zz').replace(/,"digest".*\n/, '');
    files.files.set(MANIFEST_FILE, Buffer.from(`${layout},"digest":"${testCodec().digest(Buffer.from(layout))}"}\n`));
    expect(() => store.open('other')).toThrow(/another version of Ringfence \(a test\)/);
  });

  test('whose parent is gone is refused', () => {
    expect(() => store.open(second, { parent: () => undefined })).toThrow(
      /builds on the snapshot 0+1, which is not there/,
    );
  });

  describe.each([MANIFEST_FILE, INDEX_FILE, PAGES_FILE])('with a broken %s', (file) => {
    const damaged = (change: (bytes: Buffer) => Buffer): (() => unknown) => {
      const sound = store.byId.get(first);
      const files = new MemoryFiles();
      for (const [name, bytes] of sound?.files ?? []) files.files.set(name, name === file ? change(bytes) : bytes);
      store.byId.set('damaged', files);
      return () => store.open('damaged');
    };

    test('is refused whatever byte is another', () => {
      const random = new Random(7);
      for (let round = 0; round < 60; round++)
        expect(
          damaged((bytes) => {
            const copy = Buffer.from(bytes);
            const at = random.below(copy.length);
            copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
            return copy;
          }),
        ).toThrow(/not what was written|has version|cannot be|not all there/);
    });

    test('is refused when it ends too soon or is not there', () => {
      const random = new Random(8);
      for (let round = 0; round < 20; round++)
        expect(damaged((bytes) => bytes.subarray(0, random.below(bytes.length)))).toThrow(
          /not what was written|not all there/,
        );
      expect(damaged((bytes) => Buffer.concat([bytes, Buffer.of(0)]))).toThrow(
        /not what was written|not all there|too long/,
      );
      store.byId.get('damaged')?.files.delete(file);
      expect(() => store.open('damaged')).toThrow(/is missing|not all there/);
    });
  });

  test('whose pages change after it was opened stops the guest that needs them, with the reason', async () => {
    const machine = await blank();
    const snapshot = store.open(first);
    restoreInto(machine, snapshot);
    const pages = store.byId.get(first)?.files.get(PAGES_FILE);
    pages?.reverse();
    expect(() => machine.run(100)).toThrow(/its pages are not what was written/);
    pages?.reverse();
  });

  test('is one at a time of a machine, and one that was dropped leaves nothing', async () => {
    const machine = await blank();
    restoreInto(machine, store.open(first));
    const point = await store.hold(machine);
    await expect(store.hold(machine)).rejects.toMatchObject({ code: 'not-now' });
    await point.drop();
    // Also when both have to wait until it stands still.
    const runner = { isPaused: false, pause: () => Promise.resolve(true), resume: () => {} };
    const [one, other] = await Promise.allSettled([store.hold(machine, { runner }), store.hold(machine, { runner })]);
    expect([one.status, other]).toMatchObject(['fulfilled', { reason: { code: 'not-now' } }]);
    if (one.status === 'fulfilled') await one.value.drop();
    expect((await store.take(machine)).pages.own).toBe(statistics[0]?.own);
  });

  test('that would build on more snapshots than one may is refused, however long one waits', async () => {
    const { manifest, ...rest } = store.open(first);
    const [pack] = manifest.memory.packs;
    if (pack === undefined) throw new Error('it has pages');
    const packs = Array.from({ length: MAXIMUM_PACKS }, () => pack);
    const parent = { ...rest, manifest: { ...manifest, memory: { ...manifest.memory, packs } } };
    await expect(store.hold(await blank(), { parent })).rejects.toMatchObject({ code: 'too-many' });
  });

  test('of a machine that does not run is refused', async () => {
    const runner = { isPaused: false, pause: () => Promise.resolve(false), resume: () => {} };
    await expect(store.hold(await blank(), { runner })).rejects.toThrow('the machine does not run');
  });
});
