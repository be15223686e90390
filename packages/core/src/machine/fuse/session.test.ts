import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Saved } from '../../base/saved.ts';
import { SavedReader, SavedStateError } from '../../base/saved.ts';
import { damagedStates, isPlainData } from '../testing/saved-damage.ts';
import { OPCODE } from './abi.ts';
import type { FuseOptions } from './connection.ts';
import { ERRNO, FileError } from './errno.ts';
import { FILE_TYPE } from './file-tree.ts';
import { MAXIMUM_IDLE_HELD, MAXIMUM_NAMELESS_HELD, NodeBudget } from './nodes.ts';
import { FuseSession, MAXIMUM_ARGUMENT_BYTES } from './session.ts';
import { ArrayExchange, FuseGuest, entryOf, initBody, reply, request, struct } from './testing/fuse-guest.ts';
import { MemoryTree } from './testing/memory-tree.ts';

const ROOT = 1;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

class Bench {
  readonly tree: MemoryTree;
  readonly complaints: string[] = [];
  readonly session: FuseSession;
  readonly guest: FuseGuest;

  constructor(tree = new MemoryTree(), options: Partial<FuseOptions> = {}) {
    this.tree = tree;
    this.session = new FuseSession({ tree, readOnly: false, writeback: false, ...options }, (reason) =>
      this.complaints.push(reason),
    );
    this.guest = new FuseGuest((sent, room) => this.send(sent, room));
  }

  async send(sent: Uint8Array, room: number): Promise<Uint8Array> {
    const exchange = new ArrayExchange(sent, room);
    const written = await this.session.serve(exchange);
    return exchange.answer.slice(0, written);
  }

  static async mounted(tree?: MemoryTree, options?: Partial<FuseOptions>): Promise<Bench> {
    const bench = new Bench(tree, options);
    await bench.guest.init();
    return bench;
  }

  /** Everything is closed after this, or something leaked. */
  async end(): Promise<void> {
    this.session.reset();
    await this.session.settled();
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    if (this.tree.open.size > 0) throw new Error(`${this.tree.open.size} things were left open`);
  }
}

let bench: Bench;
let tree: MemoryTree;
let guest: FuseGuest;
beforeEach(async () => {
  bench = await Bench.mounted();
  ({ tree, guest } = bench);
});

const fails = (answer: Promise<unknown>, error: keyof typeof ERRNO): Promise<void> =>
  expect(answer).rejects.toThrow(new RegExp(`^errno ${ERRNO[error]}$`));

describe('the beginning', () => {
  test('answers what both can, with limits', async () => {
    const fields = new Uint32Array((await new Bench().guest.init()).buffer);
    expect([...fields.subarray(0, 2)]).toEqual([7, 38]);
    const [, , readahead, flags = 0, background, maxWrite, timeUnit, pages] = fields;
    expect([readahead, background, maxWrite, timeUnit, pages]).toEqual([131_072, 32 | (24 << 16), 1 << 20, 1, 256]);
    const has = (bit: number): boolean => ((flags >>> bit) & 1) === 1;
    // Asynchronous reads, READDIRPLUS, submounts; no locks, no writeback unless asked for.
    expect([0, 13, 22, 27, 30].every(has)).toBe(true);
    expect([1, 10, 16].some(has)).toBe(false);
  });

  test('a kernel that knows less gets less', async () => {
    const answer = await new Bench().guest.ask(OPCODE.INIT, 0, initBody(7, 31, [1, 0]).subarray(0, 16));
    expect(new Uint32Array(answer.buffer)[3]).toBe(1);
  });

  test('writeback comes only when it is offered, and never with a read-only share', async () => {
    const flag = async (options: Partial<FuseOptions>): Promise<number> => {
      const answer = await new Bench(undefined, options).guest.init();
      return ((new Uint32Array(answer.buffer)[3] ?? 0) >>> 16) & 1;
    };
    expect([await flag({ writeback: true }), await flag({ writeback: true, readOnly: true })]).toEqual([1, 0]);
  });

  test('a newer major version asks again, an older one is refused', async () => {
    const { guest: fresh } = new Bench();
    expect(new Uint32Array((await fresh.ask(OPCODE.INIT, 0, initBody(8))).buffer)[0]).toBe(7);
    await fails(fresh.lookup(ROOT, 'a'), 'EIO');
    await fails(fresh.ask(OPCODE.INIT, 0, initBody(6)), 'EPROTO');
    await fails(fresh.ask(OPCODE.INIT, 0, initBody(7, 30)), 'EPROTO');
  });

  test('a second one begins anew: numbers of before mean nothing', async () => {
    tree.put('a');
    const { node } = await guest.lookup(ROOT, 'a');
    await guest.open(node);
    await guest.init();
    await fails(guest.attributes(node), 'ESTALE');
    await bench.end();
  });

  test('what is not known is ENOSYS, and what comes before it EIO', async () => {
    await fails(guest.ask(OPCODE.FLUSH, ROOT, struct(0n, 0, 0, 0n)), 'ENOSYS');
    await fails(guest.ask(9999, ROOT, struct()), 'ENOSYS');
    await fails(new Bench().guest.attributes(ROOT), 'EIO');
    await guest.ask(OPCODE.DESTROY, 0, struct());
    await fails(guest.attributes(ROOT), 'EIO');
  });
});

describe('names', () => {
  test('are found one by one, and two names of one file are one node', async () => {
    const file = tree.put('a/b/file', 'content');
    tree.put('link', file);
    const found = await guest.walk('a/b/file');
    expect(found).toMatchObject({ ino: file.ino, size: 7, mode: FILE_TYPE.file | 0o644 });
    expect((await guest.lookup(ROOT, 'link')).node).toBe(found.node);
    await fails(guest.lookup(ROOT, 'nothing'), 'ENOENT');
    await fails(guest.lookup(found.node, 'below'), 'ENOTDIR');
  });

  test('of any bytes are taken as they are', async () => {
    const name = Uint8Array.from({ length: 254 }, (_, index) => index + 1).filter((letter) => letter !== 0x2f);
    const { entry } = await guest.create(ROOT, 'plain');
    await guest.ask(OPCODE.RENAME, ROOT, struct(1n, 'plain', name, Uint8Array.of(0)));
    expect((await guest.lookup(ROOT, name)).node).toBe(entry.node);
    expect(tree.host.entries.has(String.fromCharCode(...name))).toBe(true);
  });

  test.each([
    ['.', 'EINVAL'],
    ['..', 'EINVAL'],
    ['', 'EINVAL'],
    ['a/b', 'EINVAL'],
    ['../x', 'EINVAL'],
    ['/etc', 'EINVAL'],
    ['x'.repeat(256), 'ENAMETOOLONG'],
  ] as const)('%j is none, whatever is asked of it', async (name, error) => {
    tree.put('a/b');
    tree.put('good');
    const file = await guest.lookup(ROOT, 'good');
    const before = tree.log.length;
    for (const [opcode, body] of [
      [OPCODE.LOOKUP, struct(name)],
      [OPCODE.UNLINK, struct(name)],
      [OPCODE.RMDIR, struct(name)],
      [OPCODE.MKDIR, struct(0o755, 0, name)],
      [OPCODE.MKNOD, struct(0o100644, 0, 0, 0, name)],
      [OPCODE.CREATE, struct(2, 0o644, 0, 0, name)],
      [OPCODE.SYMLINK, struct(name, 'target')],
      [OPCODE.LINK, struct(BigInt(file.node), name)],
      [OPCODE.RENAME, struct(1n, name, 'new')],
      [OPCODE.RENAME, struct(1n, 'good', name)],
      [OPCODE.RENAME2, struct(1n, 0, 0, 'good', name)],
    ] as const)
      await fails(guest.ask(opcode, ROOT, body), error);
    expect(tree.log.length).toBe(before);
  });

  test('a name without its end is no name', async () => {
    await fails(guest.ask(OPCODE.LOOKUP, ROOT, bytes('endless')), 'EINVAL');
    await fails(guest.ask(OPCODE.RENAME, ROOT, struct(1n, 'one', bytes('endless'))), 'EINVAL');
  });

  test('a symbolic link is a node with a text that nobody here follows', async () => {
    const made = entryOf(await guest.ask(OPCODE.SYMLINK, ROOT, struct('link', '/etc/passwd')));
    expect(made.mode & FILE_TYPE.mask).toBe(FILE_TYPE.link);
    expect(text(await guest.ask(OPCODE.READLINK, made.node, struct()))).toBe('/etc/passwd');
    await fails(guest.lookup(made.node, 'shadow'), 'ENOTDIR');
    await fails(guest.open(made.node), 'EINVAL');
    await fails(guest.ask(OPCODE.READLINK, ROOT, struct()), 'ESTALE');
  });

  test('a renamed or replaced file is what it was: numbers follow files and not names', async () => {
    tree.put('a', 'first');
    tree.put('b', 'second');
    const [a, b] = [await guest.lookup(ROOT, 'a'), await guest.lookup(ROOT, 'b')];
    await guest.ask(OPCODE.RENAME, ROOT, struct(1n, 'a', 'b'));
    expect((await guest.lookup(ROOT, 'b')).node).toBe(a.node);
    // The one that was replaced has no name any more, and is still there for who knows it.
    expect((await guest.attributes(b.node)).size).toBe(6);
    expect((await guest.attributes(a.node)).size).toBe(5);
    await bench.end();
  });

  test('a folder moves with all that is known below it', async () => {
    tree.put('a/b/c', 'deep');
    tree.put('other/x');
    const c = await guest.walk('a/b/c');
    const other = await guest.lookup(ROOT, 'other');
    await guest.ask(OPCODE.RENAME, ROOT, struct(BigInt(other.node), 'a', 'moved'));
    expect((await guest.walk('other/moved/b/c')).node).toBe(c.node);
    expect((await guest.attributes(c.node)).size).toBe(4);
    const moved = await guest.walk('other/moved');
    await fails(guest.ask(OPCODE.RENAME, other.node, struct(BigInt(moved.node), 'moved', 'in itself')), 'EINVAL');
  });

  test('a rename may keep what is there, or exchange; other flags are EINVAL', async () => {
    tree.put('a', 'A');
    tree.put('folder/b', 'longer');
    const folder = await guest.lookup(ROOT, 'folder');
    const [a, b] = [await guest.lookup(ROOT, 'a'), await guest.lookup(folder.node, 'b')];
    const rename2 = (flags: number, to: string): Promise<Uint8Array> =>
      guest.ask(OPCODE.RENAME2, ROOT, struct(BigInt(folder.node), flags, 0, 'a', to));
    await fails(rename2(4, 'b'), 'EINVAL');
    await fails(rename2(1, 'b'), 'EEXIST');
    await rename2(2, 'b');
    expect([(await guest.attributes(a.node)).size, (await guest.attributes(b.node)).size]).toEqual([1, 6]);
    expect((await guest.lookup(folder.node, 'b')).node).toBe(a.node);
    await rename2(1, 'c');
    expect((await guest.lookup(folder.node, 'c')).node).toBe(b.node);
    await bench.end();
  });

  test('a hard link is refused when the host put another file under the name meanwhile', async () => {
    tree.put('a');
    const a = await guest.lookup(ROOT, 'a');
    tree.before = (what) => {
      if (what.startsWith('link')) tree.put('a', 'secret');
    };
    await fails(guest.ask(OPCODE.LINK, ROOT, struct(BigInt(a.node), 'b')), 'ESTALE');
    expect(tree.find('b')).toBeUndefined();
    tree.before = undefined;
    const again = await guest.lookup(ROOT, 'a');
    const linked = entryOf(await guest.ask(OPCODE.LINK, ROOT, struct(BigInt(again.node), 'b')));
    expect([linked.node, linked.links]).toEqual([again.node, 2]);
    await bench.end();
  });

  test('files, pipes and sockets can be made as nodes, and no devices', async () => {
    for (const mode of [0o100600, 0o010600, 0o140600]) {
      const made = entryOf(await guest.ask(OPCODE.MKNOD, ROOT, struct(mode, 0, 0, 0, `node ${mode}`)));
      expect(made.mode).toBe(mode);
    }
    for (const type of [0o020000, 0o060000])
      await fails(guest.ask(OPCODE.MKNOD, ROOT, struct(type | 0o600, 0x103, 0, 0, 'device')), 'EPERM');
  });

  test('new files are their maker’s, with the permissions asked for', async () => {
    const { body } = await guest.raw(
      { opcode: OPCODE.MKDIR, node: ROOT, uid: 1000, gid: 100 },
      struct(0o1777, 0o022, 'folder'),
    );
    expect(entryOf(body)).toMatchObject({ mode: FILE_TYPE.folder | 0o1755, uid: 1000 });
    expect(tree.find('folder')).toMatchObject({ uid: 1000, gid: 100 });
  });

  test('a file made at the same time by somebody else is opened, unless it had to be new', async () => {
    tree.put('there', 'before');
    const { entry, handle } = await guest.create(ROOT, 'there');
    expect(text(await guest.read(entry.node, handle, 0, 100))).toBe('before');
    await fails(guest.create(ROOT, 'there', 2 | 0o200), 'EEXIST');
    tree.put('pipe', tree.make(FILE_TYPE.fifo | 0o644));
    await fails(guest.create(ROOT, 'pipe'), 'ESTALE');
  });
});

describe('nodes', () => {
  test('count what the guest was told, and are gone when it has forgotten all', async () => {
    tree.put('a');
    const { node } = await guest.lookup(ROOT, 'a');
    await guest.lookup(ROOT, 'a');
    await guest.forget(node, 1);
    await guest.attributes(node);
    await guest.forget(node, 1);
    await fails(guest.attributes(node), 'ESTALE');
    expect((await guest.lookup(ROOT, 'a')).node).not.toBe(node);
    expect(bench.complaints).toEqual([]);
  });

  test('of all trees of a machine have a limit together', async () => {
    // Two roots, and one more.
    const nodeBudget = new NodeBudget(3);
    const benches = [await Bench.mounted(undefined, { nodeBudget }), await Bench.mounted(undefined, { nodeBudget })];
    for (const each of benches) each.tree.put('a');
    const [first, second] = benches.map((each) => each.guest);
    const known = await first?.lookup(ROOT, 'a');
    await expect(second?.lookup(ROOT, 'a')).rejects.toThrow(`errno ${ERRNO.ENFILE}`);
    await first?.forget(known?.node ?? 0, 1);
    await second?.lookup(ROOT, 'a');
    await expect(first?.lookup(ROOT, 'a')).rejects.toThrow(`errno ${ERRNO.ENFILE}`);
    benches[1]?.session.reset();
    await benches[1]?.session.settled();
    await first?.lookup(ROOT, 'a');
  });

  test('several are forgotten at once', async () => {
    tree.put('a');
    tree.put('b');
    const [a, b] = [await guest.lookup(ROOT, 'a'), await guest.lookup(ROOT, 'b')];
    const body = struct(2, 0, BigInt(a.node), 1n, BigInt(b.node), 1n);
    expect(await bench.send(request({ opcode: OPCODE.BATCH_FORGET }, body), 0)).toHaveLength(0);
    await fails(guest.attributes(a.node), 'ESTALE');
    await fails(guest.attributes(b.node), 'ESTALE');
  });

  test('that were never given, or are forgotten too often, harm nothing', async () => {
    for (const node of [0, 2, 99, 2 ** 40]) await fails(guest.attributes(node), 'ESTALE');
    tree.put('a');
    const { node } = await guest.lookup(ROOT, 'a');
    await guest.forget(node, 2);
    await guest.forget(12345, 1);
    expect(bench.complaints).toHaveLength(2);
    await guest.attributes(node);
    await guest.forget(ROOT, 1000);
    await guest.attributes(ROOT);
    await bench.send(request({ opcode: OPCODE.BATCH_FORGET }, struct(0xffff_ffff, 0, 5n, 1n)), 0);
  });

  test('are held no longer than there is room, and found again', async () => {
    const count = MAXIMUM_IDLE_HELD + 200;
    for (let index = 0; index < count; index++) tree.put(`f${index}/x`, `${index}`);
    const nodes: number[] = [];
    for (let index = 0; index < count; index++) nodes.push((await guest.walk(`f${index}/x`)).node);
    expect(tree.open.size).toBeLessThanOrEqual(MAXIMUM_IDLE_HELD + 1);
    for (const [index, node] of nodes.entries()) {
      const handle = await guest.open(node);
      expect(text(await guest.read(node, handle, 0, 10))).toBe(`${index}`);
      await guest.release(node, handle);
    }
    expect(tree.open.size).toBeLessThanOrEqual(MAXIMUM_IDLE_HELD + 1);
    await bench.end();
  });

  test('whose place another file took are stale, and looked up anew', async () => {
    tree.put('a', 'old');
    const old = await guest.lookup(ROOT, 'a');
    tree.put('a', 'newer');
    await fails(guest.attributes(old.node), 'ESTALE');
    await fails(guest.open(old.node), 'ESTALE');
    const now = await guest.lookup(ROOT, 'a');
    expect([now.node === old.node, now.size]).toEqual([false, 5]);
    await bench.end();
  });

  test('without a name are kept up to a limit', async () => {
    const nodes: number[] = [];
    for (let index = 0; index < MAXIMUM_NAMELESS_HELD + 20; index++) {
      tree.put(`f${index}`);
      nodes.push((await guest.lookup(ROOT, `f${index}`)).node);
      await guest.ask(OPCODE.UNLINK, ROOT, struct(`f${index}`));
    }
    await guest.attributes(nodes.at(-1) ?? 0);
    await fails(guest.attributes(nodes[0] ?? 0), 'ESTALE');
    await bench.end();
  });

  test('make room when the host has none for one more open file', async () => {
    tree.put('a/b');
    tree.put('c/d');
    await guest.walk('a/b');
    const d = await guest.walk('c/d');
    let refusals = 1;
    tree.before = (what) => {
      if (what === 'open' && refusals-- > 0) throw new FileError('EMFILE');
    };
    await guest.open(d.node);
    await bench.end();
  });

  test('on other file systems of the host are their roots', async () => {
    const folder = tree.make(FILE_TYPE.folder | 0o755);
    folder.device = 8n;
    tree.put('mount', folder);
    tree.put('mount/x').device = 8n;
    expect(await guest.lookup(ROOT, 'mount')).toMatchObject({ flags: 1, ino: folder.ino });
    expect(await guest.walk('mount/x')).toMatchObject({ flags: 0 });
    // A kernel that does not know them gets numbers that meet no others.
    const old = new Bench(tree);
    await old.guest.ask(OPCODE.INIT, 0, initBody(7, 31, [0x3fffff, 0]));
    expect(await old.guest.lookup(ROOT, 'mount')).toMatchObject({ flags: 0, ino: folder.ino ^ (15n << 48n) });
  });
});

describe('files', () => {
  test('are read and written by position, to the byte', async () => {
    const { entry, handle } = await guest.create(ROOT, 'file');
    const { node } = entry;
    expect(await guest.write(node, handle, 3, bytes('abcdef'))).toBe(6);
    expect([...(await guest.read(node, handle, 2, 4))]).toEqual([0, ...bytes('abc')]);
    expect(await guest.read(node, handle, 9, 10)).toHaveLength(0);
    expect(text(await guest.read(node, handle, 7, 4096))).toBe('ef');
    await guest.release(node, handle);
    await fails(guest.read(node, handle, 0, 1), 'EBADF');
    await bench.end();
  });

  test('that are removed while they are open are there until they are closed', async () => {
    const { entry, handle } = await guest.create(ROOT, 'file');
    await guest.ask(OPCODE.UNLINK, ROOT, struct('file'));
    await guest.write(entry.node, handle, 0, bytes('still'));
    expect(text(await guest.read(entry.node, handle, 0, 10))).toBe('still');
    await guest.release(entry.node, handle);
    await guest.forget(entry.node, 1);
    await bench.end();
  });

  test('handles are of one file: with another it is EBADF', async () => {
    const a = await guest.create(ROOT, 'a');
    const b = await guest.create(ROOT, 'b');
    await fails(guest.read(b.entry.node, a.handle, 0, 1), 'EBADF');
    await fails(guest.write(b.entry.node, a.handle, 0, bytes('x')), 'EBADF');
    await fails(guest.release(b.entry.node, a.handle), 'EBADF');
    const folder = await guest.openFolder(ROOT);
    await fails(guest.read(ROOT, folder, 0, 1), 'EBADF');
    await fails(guest.list(a.entry.node, a.handle, 0), 'EBADF');
  });

  test('a write whose length is not that of its data is refused', async () => {
    const { entry, handle } = await guest.create(ROOT, 'a');
    for (const size of [0, 2, 4, 0xffff_ffff]) {
      const body = struct(BigInt(handle), 0n, size, 0, 0n, 0, 0, bytes('abc'));
      await fails(guest.ask(OPCODE.WRITE, entry.node, body), 'EINVAL');
    }
    await fails(
      guest.ask(OPCODE.WRITE, entry.node, struct(BigInt(handle), 1n << 62n, 1, 0, 0n, 0, 0, bytes('a'))),
      'EFBIG',
    );
  });

  test('change by SETATTR: mode, owner, size, times', async () => {
    const file = tree.put('a', 'long content');
    const { node } = await guest.lookup(ROOT, 'a');
    const body = struct(0x3f, 0, 0n, 4n, 0n, -5n, 1000n, 0n, 7, 8, 0, 0o4711, 0, 12, 34, 0);
    const answer = await guest.ask(OPCODE.SETATTR, node, body);
    expect(file).toMatchObject({ mode: FILE_TYPE.file | 0o4711, uid: 12, gid: 34 });
    expect([text(file.content), file.accessedNs, file.modifiedNs]).toEqual([
      'long',
      -4_999_999_993n,
      1_000_000_000_008n,
    ]);
    // Before 1970 seconds are negative and nanoseconds are not.
    const seconds = new DataView(answer.buffer).getBigInt64(16 + 24, true);
    expect([seconds, new DataView(answer.buffer).getUint32(16 + 48, true)]).toEqual([-5n, 7]);
    // The root and the file are held, nothing is open.
    expect(tree.open.size).toBe(2);
  });

  test('pages the guest has are good if the file is as it was', async () => {
    const file = tree.put('a', 'content');
    const { node } = await guest.lookup(ROOT, 'a');
    const flags = async (): Promise<number> => (await guest.ask(OPCODE.OPEN, node, struct(0, 0)))[8] ?? 0;
    expect(await flags()).toBe(2);
    file.modifiedNs++;
    expect(await flags()).toBe(0);
    await guest.attributes(node);
    expect(await flags()).toBe(2);
  });

  test('devices, pipes and sockets are shown and not opened', async () => {
    for (const type of [FILE_TYPE.fifo, FILE_TYPE.socket, FILE_TYPE.character, FILE_TYPE.block]) {
      tree.put('special', tree.make(type | 0o666));
      const { node, mode } = await guest.lookup(ROOT, 'special');
      expect(mode).toBe(type | 0o666);
      await fails(guest.open(node), 'EINVAL');
    }
  });

  test('appending is the host’s matter, unless the guest caches writes', async () => {
    tree.put('log', 'one ');
    const { node } = await guest.lookup(ROOT, 'log');
    const handle = await guest.open(node, 0o2001);
    await guest.write(node, handle, 0, bytes('two'));
    expect(text(tree.find('log')?.content ?? bytes(''))).toBe('one two');
    const cached = await Bench.mounted(tree, { writeback: true });
    const entry = await cached.guest.lookup(ROOT, 'log');
    const second = await cached.guest.open(entry.node, 0o2001);
    await cached.guest.write(entry.node, second, 0, bytes('ONE'));
    expect(text(await cached.guest.read(entry.node, second, 0, 20))).toBe('ONE two');
  });

  test('are made durable, all or just their data', async () => {
    const { entry, handle } = await guest.create(ROOT, 'a');
    await guest.ask(OPCODE.FSYNC, entry.node, struct(BigInt(handle), 0, 0));
    await guest.ask(OPCODE.FSYNC, entry.node, struct(BigInt(handle), 1, 0));
    expect(tree.log.filter((what) => what.startsWith('sync'))).toEqual(['sync', 'sync data']);
  });

  test('what fails on the host fails in the guest with the same number', async () => {
    const { entry, handle } = await guest.create(ROOT, 'a');
    tree.before = (what) => {
      if (what.startsWith('write')) throw new FileError('EDQUOT');
      if (what.startsWith('read')) throw new Error('a bug');
    };
    await fails(guest.write(entry.node, handle, 0, bytes('x')), 'EDQUOT');
    await fails(guest.read(entry.node, handle, 0, 1), 'EIO');
  });
});

describe('folders', () => {
  const all = async (handle: number, room: number, plus = false): Promise<string[]> => {
    const names: string[] = [];
    for (let offset = 0; ;) {
      const some = await guest.list(ROOT, handle, offset, room, plus);
      if (some.length === 0) return names;
      names.push(...some.map(({ name }) => name));
      offset = some.at(-1)?.next ?? 0;
    }
  };

  test.each([
    [4096, false],
    [100, false],
    [4096, true],
    [400, true],
  ])('are listed whole in pieces of %i bytes, with attributes: %s', async (room, plus) => {
    const names = Array.from({ length: 200 }, (_, index) => `file ${index}`);
    for (const name of names) tree.put(name);
    const handle = await guest.openFolder(ROOT);
    expect(await all(handle, room, plus)).toEqual(['.', '..', ...names]);
    await guest.ask(OPCODE.RELEASEDIR, ROOT, struct(BigInt(handle), 0, 0, 0n));
    await bench.end();
  });

  test('have places that stay while names come and go', async () => {
    for (let index = 0; index < 20; index++) tree.put(`f${index}`);
    const handle = await guest.openFolder(ROOT);
    const first = await guest.list(ROOT, handle, 0, 200);
    const next = first.at(-1)?.next ?? 0;
    for (let index = 0; index < 10; index++) tree.host.entries.delete(`f${index}`);
    tree.put('new');
    const rest = await guest.list(ROOT, handle, next);
    const seen = [...first, ...rest].map(({ name }) => name);
    expect(new Set(seen).size).toBe(seen.length);
    for (let index = 10; index < 20; index++) expect(seen).toContain(`f${index}`);
    expect(await guest.list(ROOT, handle, next)).toEqual(rest);
    // From the start it is what is there now.
    const again = (await guest.list(ROOT, handle, 0)).map(({ name }) => name);
    expect([again.includes('new'), again.includes('f0')]).toEqual([true, false]);
  });

  test('with attributes tell of nodes that must be forgotten, but for the dots', async () => {
    tree.put('a');
    const handle = await guest.openFolder(ROOT);
    const listed = await guest.list(ROOT, handle, 0, 4096, true);
    expect(listed.map(({ node }) => node)).toEqual([0, 0, expect.any(Number)]);
    const node = listed[2]?.node ?? 0;
    expect((await guest.lookup(ROOT, 'a')).node).toBe(node);
    await guest.forget(node, 2);
    expect(bench.complaints).toEqual([]);
    await fails(guest.attributes(node), 'ESTALE');
  });

  test('no room for a single name is an error and not the end', async () => {
    tree.put('a');
    const handle = await guest.openFolder(ROOT);
    await fails(guest.list(ROOT, handle, 0, 16), 'EINVAL');
    expect(await guest.list(ROOT, handle, 3)).toEqual([]);
    expect(await guest.list(ROOT, handle, 2 ** 52)).toEqual([]);
  });

  test('a file is none', async () => {
    tree.put('a');
    await fails(guest.openFolder((await guest.lookup(ROOT, 'a')).node), 'ENOTDIR');
  });
});

describe('extended attributes', () => {
  const set = (node: number, name: string, value: string): Promise<Uint8Array> =>
    guest.ask(OPCODE.SETXATTR, node, struct(value.length, 0, 0, 0, name, bytes(value)));
  const get = async (node: number, name: string, size = 100): Promise<string> =>
    text(await guest.ask(OPCODE.GETXATTR, node, struct(size, 0, name)));

  test('are "never ask again" of a tree that has none', async () => {
    await fails(get(ROOT, 'user.a'), 'ENOSYS');
    await fails(set(ROOT, 'user.a', 'x'), 'ENOSYS');
    await fails(guest.ask(OPCODE.LISTXATTR, ROOT, struct(0, 0)), 'ENOSYS');
    await fails(guest.ask(OPCODE.REMOVEXATTR, ROOT, struct('user.a')), 'ENOSYS');
  });

  test('of programs are kept, listed and removed; those of the host’s kernel are hidden', async () => {
    tree.hasAttributes = true;
    tree.host.attributes.set('security.capability', bytes('host'));
    tree.host.attributes.set('system.posix_acl_access', bytes('acl'));
    await set(ROOT, 'user.a', 'value');
    expect([await get(ROOT, 'user.a'), await get(ROOT, 'user.a', 0)]).toEqual(['value', '\u0005\0\0\0\0\0\0\0']);
    await fails(get(ROOT, 'user.a', 4), 'ERANGE');
    await fails(get(ROOT, 'user.b'), 'ENODATA');
    for (const name of ['security.capability', 'trusted.x', 'system.posix_acl_access', 'user.', ''])
      await fails(get(ROOT, name), 'EOPNOTSUPP');
    expect(text(await guest.ask(OPCODE.LISTXATTR, ROOT, struct(100, 0)))).toBe('user.a\0');
    await fails(guest.ask(OPCODE.LISTXATTR, ROOT, struct(3, 0)), 'ERANGE');
    await guest.ask(OPCODE.REMOVEXATTR, ROOT, struct('user.a'));
    await fails(get(ROOT, 'user.a'), 'ENODATA');
    await fails(guest.ask(OPCODE.SETXATTR, ROOT, struct(10, 0, 0, 0, 'user.a', bytes('short'))), 'EINVAL');
    await fails(guest.ask(OPCODE.SETXATTR, ROOT, struct(70_000, 0, 0, 0, 'user.a', new Uint8Array(70_000))), 'E2BIG');
    await fails(set(ROOT, `user.${'x'.repeat(251)}`, 'x'), 'ERANGE');
  });

  test('access lists come with the umask left to the host, and take set-group-ID away when told so', async () => {
    tree.hasAttributes = true;
    tree.hasAccessLists = true;
    bench = await Bench.mounted(tree);
    ({ guest } = bench);
    const [, , , flags = 0] = new Uint32Array((await new Bench(tree).guest.init()).buffer);
    expect([(flags >>> 20) & 1, (flags >>> 6) & 1]).toEqual([1, 1]);
    const file = tree.put('a');
    file.mode |= 0o2070;
    const { node } = await guest.lookup(ROOT, 'a');
    await guest.ask(OPCODE.SETXATTR, node, struct(3, 0, 1, 0, 'system.posix_acl_access', bytes('acl')));
    expect([text(file.attributes.get('system.posix_acl_access') ?? bytes('')), file.mode & 0o2000]).toEqual(['acl', 0]);
  });
});

describe('a read-only share', () => {
  test('changes nothing, whatever is asked', async () => {
    tree.put('a/b', 'content');
    bench = await Bench.mounted(tree, { readOnly: true });
    ({ guest } = bench);
    const { node } = await guest.walk('a/b');
    const before = tree.log.length;
    for (const [opcode, body] of [
      [OPCODE.SETATTR, new Uint8Array(88)],
      [OPCODE.SYMLINK, struct('x', 'y')],
      [OPCODE.MKNOD, struct(0o100644, 0, 0, 0, 'x')],
      [OPCODE.MKDIR, struct(0o755, 0, 'x')],
      [OPCODE.UNLINK, struct('a')],
      [OPCODE.RMDIR, struct('a')],
      [OPCODE.RENAME, struct(1n, 'a', 'b')],
      [OPCODE.RENAME2, struct(1n, 0, 0, 'a', 'b')],
      [OPCODE.LINK, struct(BigInt(node), 'x')],
      [OPCODE.CREATE, struct(0, 0o644, 0, 0, 'x')],
      [OPCODE.SETXATTR, struct(1, 0, 0, 0, 'user.x', bytes('x'))],
      [OPCODE.REMOVEXATTR, struct('user.x')],
      [OPCODE.FALLOCATE, struct(1n, 0n, 1n, 0, 0)],
      [OPCODE.COPY_FILE_RANGE, struct(1n, 0n, 1n, 1n, 0n, 1n, 0n)],
      [OPCODE.WRITE, struct(1n, 0n, 1, 0, 0n, 0, 0, bytes('x'))],
    ] as const)
      await fails(guest.ask(opcode, ROOT, body), 'EROFS');
    for (const flags of [1, 2, 0o1000]) await fails(guest.open(node, flags), 'EROFS');
    expect(tree.log.length).toBe(before);
    expect(text(await guest.read(node, await guest.open(node, 0), 0, 10))).toBe('content');
  });
});

describe('requests that are wrong', () => {
  test('without a header or room for an answer cannot be answered', async () => {
    expect(await bench.send(new Uint8Array(39), 4096)).toHaveLength(0);
    expect(await bench.send(request({ opcode: OPCODE.LOOKUP, node: 1 }, struct('a')), 15)).toHaveLength(0);
    expect(bench.complaints).toHaveLength(2);
  });

  test('with a length that is not theirs, too long, or without room for what they ask are refused', async () => {
    for (const wrong of [0, 39, 41, 43, 2 ** 32 - 1]) {
      const sent = request({ opcode: OPCODE.LOOKUP, node: 1, bytes: wrong }, struct('a'));
      expect(reply(await bench.send(sent, 4096)).errno).toBe(ERRNO.EINVAL);
    }
    const long = request({ opcode: OPCODE.LOOKUP, node: 1 }, new Uint8Array(MAXIMUM_ARGUMENT_BYTES + 1));
    expect(reply(await bench.send(long, 4096)).errno).toBe(ERRNO.E2BIG);
    tree.put('a');
    expect(reply(await bench.send(request({ opcode: OPCODE.LOOKUP, node: 1 }, struct('a')), 143)).errno).toBe(
      ERRNO.EINVAL,
    );
    expect(tree.log.some((what) => what === 'look a')).toBe(false);
    await fails(guest.ask(OPCODE.WRITE, ROOT, new Uint8Array(39)), 'EINVAL');
  });

  test('of any kind, in any order, leave the session and the host whole', async () => {
    const names = ['a', 'b', 'folder', '..', '', 'a/b', 'x'.repeat(300)];
    const small = fc.bigInt({ min: 0n, max: 6n });
    const field: fc.Arbitrary<number | bigint | string | Uint8Array> = fc.oneof(
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 0o777777 }),
      small,
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.constantFrom(...names),
      fc.uint8Array({ maxLength: 100 }),
    );
    const known = Object.values(OPCODE).filter((opcode) => opcode !== OPCODE.INIT && opcode !== OPCODE.DESTROY);
    const shaped = fc.oneof(
      fc.tuple(fc.constantFrom<number>(...known), fc.array(field, { maxLength: 14 })),
      fc.tuple(
        fc.constantFrom<number>(OPCODE.LOOKUP, OPCODE.UNLINK, OPCODE.OPENDIR),
        fc.constantFrom(...names).map((name) => [name]),
      ),
      fc.tuple(
        fc.constant<number>(OPCODE.OPEN),
        fc.constantFrom(0, 1, 2, 0o1002).map((flags) => [flags, 0]),
      ),
      fc.tuple(
        fc.constant<number>(OPCODE.CREATE),
        fc.constantFrom(...names).map((name) => [2, 0o644, 0, 0, name]),
      ),
      fc.tuple(
        fc.constantFrom<number>(OPCODE.RENAME, OPCODE.LINK),
        fc.tuple(small, fc.constantFrom(...names), fc.constantFrom(...names)),
      ),
      fc.tuple(
        fc.constantFrom<number>(OPCODE.READ, OPCODE.READDIR, OPCODE.READDIRPLUS, OPCODE.WRITE),
        fc
          .tuple(small, small, fc.integer({ min: 0, max: 5000 }))
          .map(([handle, offset, size]) => [handle, offset, size, 0, 0n, 0, 0]),
      ),
      fc.tuple(
        fc.constantFrom<number>(OPCODE.RELEASE, OPCODE.RELEASEDIR, OPCODE.FORGET),
        small.map((id) => [id, 0, 0, 0n]),
      ),
    );
    const any = fc.record({
      shaped,
      node: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.maxSafeNat()),
      room: fc.oneof(fc.constant(4096), fc.nat(200)),
      wrongBytes: fc.option(fc.nat(200), { freq: 20 }),
      waits: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(any, { minLength: 1, maxLength: 60, size: 'max' }), async (requests) => {
        const fuzzed = await Bench.mounted();
        fuzzed.tree.put('a', 'content of a');
        fuzzed.tree.put('folder/b', 'b');
        fuzzed.tree.put('pipe', fuzzed.tree.make(FILE_TYPE.fifo | 0o600));
        const open: Promise<Uint8Array>[] = [];
        for (const {
          shaped: [opcode, fields],
          node,
          room,
          wrongBytes,
          waits,
        } of requests) {
          const header = { opcode, node, ...(wrongBytes === null ? {} : { bytes: wrongBytes }) };
          const answer = fuzzed.send(request(header, struct(...fields)), room);
          open.push(answer);
          if (waits) await answer;
        }
        for (const answer of await Promise.all(open)) if (answer.length > 0) reply(answer);
        const saved = fuzzed.session.save();
        const other = new Bench(fuzzed.tree);
        other.session.restorer(new SavedReader(saved, 'saved'))();
        expect(other.session.save()).toEqual(saved);
        await other.guest.attributes(ROOT);
        await other.end().catch(() => undefined);
        await fuzzed.end();
      }),
      { numRuns: 150 },
    );
  });
});

describe('a saved session', () => {
  async function busy(): Promise<{ saved: Saved; a: number; handle: number; folder: number; next: number }> {
    tree.put('a/b/file', 'content');
    for (let index = 0; index < 10; index++) tree.put(`entry ${index}`);
    const { node } = await guest.walk('a/b/file');
    const handle = await guest.open(node);
    const folder = await guest.openFolder(ROOT);
    const next = (await guest.list(ROOT, folder, 0, 200)).at(-1)?.next ?? 0;
    return { saved: bench.session.save(), a: node, handle, folder, next };
  }

  test('goes on elsewhere: nodes, open files and places in folders', async () => {
    const { saved, a, handle, folder, next } = await busy();
    expect(isPlainData(saved)).toBe(true);
    const rest = await guest.list(ROOT, folder, next);
    const other = new Bench(tree);
    other.session.restorer(new SavedReader(structuredClone(saved), 'saved'))();
    expect(other.session.save()).toEqual(saved);
    expect(text(await other.guest.read(a, handle, 0, 10))).toBe('content');
    await other.guest.write(a, handle, 0, bytes('C'));
    expect(await other.guest.list(ROOT, folder, next)).toEqual(rest);
    expect((await other.guest.walk('a/b/file')).node).toBe(a);
    await bench.end().catch(() => undefined);
    await other.end();
  });

  test('finds another file in a place stale', async () => {
    const { saved, a, handle } = await busy();
    const other = new Bench(tree);
    other.session.restorer(new SavedReader(saved, 'saved'))();
    tree.put('a/b/file', 'other');
    await fails(other.guest.attributes(a), 'ESTALE');
    await fails(other.guest.read(a, handle, 0, 10), 'ESTALE');
  });

  test('that is damaged is refused', async () => {
    const { saved } = await busy();
    const before = new Bench(tree);
    const nodes = (change: (list: Record<string, Saved>[]) => void): Saved => {
      const copy = structuredClone(saved) as { nodes: { nodes: Record<string, Saved>[] } };
      change(copy.nodes.nodes);
      return copy;
    };
    const damaged = [
      ...damagedStates(saved),
      {
        what: 'a node in itself',
        state: nodes((list) => void (list[1] = { ...list[1], place: { folder: 2, name: bytes('x') } })),
      },
      {
        what: 'a place twice',
        state: nodes((list) => void (list[2] = { ...list[2], place: list[1]?.['place'] ?? null })),
      },
      { what: 'a number twice', state: nodes((list) => void list.push(list[1] ?? {})) },
      {
        what: 'a path as a name',
        state: nodes((list) => void (list[1] = { ...list[1], place: { folder: 1, name: bytes('../x') } })),
      },
      { what: 'a file as a folder', state: nodes((list) => void (list[1] = { ...list[1], isFolder: false })) },
    ];
    for (const { what, state } of damaged)
      expect(() => before.session.restorer(new SavedReader(state, 'saved')), what).toThrow(SavedStateError);
    expect(before.session.save()).toBe(null);
  });
});
