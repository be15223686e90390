/**
 * A folder of this host in a guest with Debian's own kernel, whose virtio-fs and FUSE are the peer: what the guest does is there on the
 * host, and the other way round. Boots Debian each time.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { SharedTree, openShares } from '@ringfence/host';
import { openTiny } from '@ringfence/images';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Guest } from './testing/guest.ts';
import { answer, start } from './testing/ringfence.ts';

let base = '';
let folder = '';

beforeAll(async () => {
  // On a machine that never had the image its progress would be on stderr.
  await openTiny();
});
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'ringfence-share-'));
  folder = join(base, 'shared');
  mkdirSync(folder);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const inGuest = (script: string, ...options: readonly string[]): Promise<[number | null, string, string]> =>
  answer(['run', '--share', `${folder}:/work`, ...options, '--', 'sh', '-c', script]);
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('a shared folder', () => {
  test('has the host’s files in the guest, and the guest’s on the host', async () => {
    const content = randomBytes(3_000_000);
    writeFileSync(join(folder, 'from host'), content);
    mkdirSync(join(folder, 'a/b'), { recursive: true });
    symlinkSync('from host', join(folder, 'link'));
    const [code, stdout, stderr] = await inGuest(`
      cd /work
      sha256sum <link
      mkdir -p a/b/c && echo deep >a/b/c/file && mv a/b/c moved && cat moved/file
      ln -s moved/file pointer && ln moved/file second && stat -c %h second && readlink pointer && cat pointer
      dd if=/dev/urandom of=random bs=100k count=20 2>/dev/null && sha256sum <random
      chmod 4711 second && stat -c %a moved/file
      touch -d '1970-01-02 00:00:10' second
      rm link && rmdir a/b && ls -A
    `);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(lines[0]).toBe(`${sha256(content)}  -`);
    expect(lines.slice(1, 5)).toEqual(['deep', '2', 'moved/file', 'deep']);
    expect(lines[5]).toBe(`${sha256(readFileSync(join(folder, 'random')))}  -`);
    expect(lines.slice(6)).toEqual(['4711', 'a', 'from host', 'moved', 'pointer', 'random', 'second', '']);
    expect([text('moved/file'), readlinkSync(join(folder, 'pointer'))]).toEqual(['deep\n', 'moved/file']);
    const { nlink, mode, mtimeMs } = statSync(join(folder, 'second'));
    expect([nlink, mode & 0o7777, mtimeMs]).toEqual([2, 0o4711, 86_410_000]);
    expect(statSync(join(folder, 'random')).size).toBe(2_048_000);
  });

  test('behaves as POSIX has it', async () => {
    mkdirSync(join(folder, 'many'));
    for (let index = 1; index <= 10_000; index++) writeFileSync(join(folder, `many/${index}`), '');
    const [code, stdout, stderr] = await inGuest(String.raw`
      cd /work
      # A file that is removed while it is open is there until it is closed.
      exec 3>open; echo before >&3; exec 4<open; rm open; echo after >&3; cat <&4; exec 3>&- 4<&-; ls open 2>/dev/null || echo gone
      # A rename replaces in one step; who has the old file open keeps it.
      echo old >a; echo new >b; exec 3<a; mv b a; cat <&3; cat a; exec 3<&-
      # O_EXCL: noclobber.
      set -C; (echo x >a) 2>/dev/null || echo exists; set +C
      # Appending from two at once loses nothing.
      for who in 1 2 3 4; do (for n in $(seq 1 50); do echo "$who $n" >>log; done) & done; wait; wc -l <log
      # Permissions are those of the user who asks.
      mkdir private && chmod 700 private && echo secret >private/file && chmod 666 private/file
      echo public >public && chmod 444 public && chmod 755 .
      setuidgid() { su -s /bin/sh nobody -c "$1" 2>&1; }
      setuidgid 'cat /work/private/file' >/dev/null || echo denied
      setuidgid 'cat /work/public'
      setuidgid 'echo x >>/work/public' >/dev/null || echo denied
      # Names: long, odd, many.
      name=$(printf %255s | tr ' ' x); echo long >$name && cat $name; (echo x >$name'y') 2>/dev/null || echo 'too long'
      printf 'odd' >"$(printf 'a\377\n b')" && ls | grep -c .
      (cd many && ls | wc -l && rm [0-4]* && ls | wc -l)
      rmdir many 2>/dev/null || echo 'not empty'
      # Folders do not go into themselves, links do not cross file systems.
      mkdir -p d/e; mv d d/e 2>/dev/null || echo invalid; ln a /tmp/a 2>/dev/null || echo 'cross-device'
      # Holes, and truncation.
      dd if=/dev/zero of=sparse bs=1 count=1 seek=5G 2>/dev/null; stat -c %s sparse; [ $(stat -c %b sparse) -lt 1000 ] && echo sparse
      truncate -s 3 a && cat a; echo
      # Pipes are the guest's own.
      mkfifo pipe && (echo through >pipe &) && cat pipe
      sync; df . | grep -c /work
    `);
    expect([code, stderr]).toEqual([0, '']);
    const expected = String.raw`before
after
gone
old
new
exists
200
denied
public
denied
long
too long
7
10000
5555
not empty
invalid
cross-device
5368709121
sparse
new
through
1
`;
    expect(stdout).toBe(expected);
    expect(readdirSync(folder, { encoding: 'buffer' }).some((name) => name.includes(0xff) && name.includes(0x0a))).toBe(
      true,
    );
    expect(statSync(join(folder, 'sparse')).size).toBe(5 * 1024 ** 3 + 1);
    expect(lstatSync(join(folder, 'pipe')).isFIFO()).toBe(true);
  });

  test('can be read-only, whatever the guest tries', async () => {
    writeFileSync(join(folder, 'file'), 'content');
    const script = `
      cd /ro; cat file; echo
      for try in 'echo x >file' 'echo x >>file' 'echo x >new' 'rm file' 'mkdir d' 'mv file f' 'ln -s a b' 'ln file g' 'chmod 600 file' 'touch file'; do
        (eval "$try") 2>/dev/null && echo "$try went"
      done
      mount -o remount,rw /ro; (echo x >file) 2>/dev/null && echo 'went after remount'; chmod 600 file 2>/dev/null && echo 'chmod went'
      :`;
    const [code, stdout] = await answer(['run', '--share', `${folder}:/ro:ro`, '--', 'sh', '-c', script]);
    expect([code, stdout]).toEqual([0, 'content\n']);
    expect([readdirSync(folder), text('file')]).toEqual([['file'], 'content']);
  });

  test('holds what the guest’s own links and ".." say within the guest', async () => {
    writeFileSync(join(base, 'outside'), 'OUTSIDE');
    symlinkSync(join(base, 'outside'), join(folder, 'absolute'));
    symlinkSync('../outside', join(folder, 'relative'));
    symlinkSync('/etc', join(folder, 'etc'));
    const [code, stdout] = await inGuest(`
      cd /work; for name in absolute relative ../outside ./../../outside; do cat $name 2>/dev/null && echo "$name: out"; done
      cat etc/hostname 2>/dev/null; grep -c tiny etc/os-release; ls -A ..| grep -c shared; :`);
    expect([code, stdout]).toEqual([0, '3\n0\n']);
  });

  test('shows what the host does meanwhile, a second later at the latest', async () => {
    writeFileSync(join(folder, 'log'), 'one\n');
    writeFileSync(join(folder, 'old'), 'moves\n');
    const script = `
      cd /work; cat log old; exec 3>>log; echo guest >&3; echo ready; read -r go
      sleep 1.2; cat log new; ls; echo again >&3; echo done`;
    const child = start('run', '--share', `${folder}:/work`, '--', 'sh', '-c', script);
    let stdout = '';
    child.stdout.on('data', (bytes: Buffer) => {
      stdout += bytes.toString();
      if (!stdout.endsWith('ready\n')) return;
      appendFileSync(join(folder, 'log'), 'host\n');
      renameSync(join(folder, 'old'), join(folder, 'new'));
      child.stdin.write('go\n');
    });
    const [code] = (await once(child, 'close')) as [number];
    expect([code, stdout]).toEqual([0, 'one\nmoves\nready\none\nguest\nhost\nmoves\nlog\nnew\ndone\n']);
    expect(text('log')).toBe('one\nguest\nhost\nagain\n');
  });

  test('may be one of several, some of them nested', async () => {
    mkdirSync(join(folder, 'inner'));
    const other = join(base, 'other: one');
    mkdirSync(other);
    writeFileSync(join(other, 'file'), 'other');
    const words = [
      'run',
      '--share',
      `${folder}:/work`,
      '--share',
      `${other}:/work/inner:ro`,
      '--',
      'cat',
      '/work/inner/file',
    ];
    expect(await answer(words)).toEqual([0, 'other', '']);
  });
});

const compiler = spawnSync('riscv64-linux-gnu-gcc', ['--version']).status === 0;

test.skipIf(!compiler)('files are mapped into memory, to read, to write and to run', async () => {
  const source = join(base, 'map.c');
  writeFileSync(
    source,
    String.raw`
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
  int file = open("/work/mapped", O_RDWR);
  struct stat info;
  fstat(file, &info);
  char *bytes = mmap(0, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) return 1;
  printf("%.5s %c\n", bytes, bytes[info.st_size - 1]);
  memcpy(bytes + 100000, "written through the map", 23);
  if (msync(bytes, info.st_size, MS_SYNC)) return 2;
  char back[24] = {0};
  pread(file, back, 23, 100000);
  puts(back);
  pwrite(file, "READ", 4, 0);
  printf("%.5s\n", bytes);
  /* Locks are the guest's own: two open files, one lock. */
  int other = open("/work/mapped", O_RDWR);
  int first = flock(file, LOCK_EX), second = flock(other, LOCK_EX | LOCK_NB);
  printf("%d %d", first, second == 0);
  flock(file, LOCK_UN);
  printf(" %d\n", flock(other, LOCK_EX | LOCK_NB));
  return 0;
}
`,
  );
  execFileSync('riscv64-linux-gnu-gcc', ['-static', '-O1', '-o', join(folder, 'map'), source]);
  writeFileSync(join(folder, 'mapped'), `start${'.'.repeat(200_000)}Z`);
  expect(await inGuest('/work/map && /work/map >/dev/null')).toEqual([
    0,
    'start Z\nwritten through the map\nREADt\n0 0 0\n',
    '',
  ]);
  expect(text('mapped').slice(100_000, 100_023)).toBe('written through the map');
});

test.skipIf(process.geteuid?.() !== 0)(
  'users of the guest are users of the host when Ringfence is root’s',
  async () => {
    chmodSync(folder, 0o777);
    await inGuest('cd /work; su -s /bin/sh nobody -c "echo x >mine; mkdir folder"; chown 12:34 folder; chgrp 5 mine');
    const owner = (name: string): number[] => [statSync(join(folder, name)).uid, statSync(join(folder, name)).gid];
    expect([owner('mine'), owner('folder')]).toEqual([
      [65_534, 5],
      [12, 34],
    ]);
  },
);

/** A user of Debian, here and in the guest, whose group has the same number. */
const NOBODY = 65534;

/** Sets an attribute, and access lists: user 65534 may read and write, group and others nothing. */
const ACCESS_PROGRAM = String.raw`
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
struct entry { unsigned short tag, permissions; unsigned int id; };
struct { unsigned int version; struct entry entries[5]; } list = {2, {
  {0x01, 7, -1}, {0x02, 6, 65534}, {0x04, 0, -1}, {0x10, 7, -1}, {0x20, 0, -1}}};
int main(void) {
  char value[10] = {0};
  chdir("/work");
  printf("%d", setxattr("file", "user.word", "hello", 5, 0));
  printf(" %zd %s", getxattr("file", "user.word", value, sizeof value), value);
  printf(" %d", setxattr("file", "security.capability", "x", 1, 0));
  printf(" %d", setxattr("file", "system.posix_acl_access", &list, sizeof list, 0));
  printf(" %d\n", setxattr("folder", "system.posix_acl_default", &list, sizeof list, 0));
  umask(077);
  close(open("folder/made", O_CREAT | O_WRONLY, 0666));
  setgid(65534);
  setuid(65534);
  printf("%d %d %d\n", open("file", O_RDWR) >= 0, open("folder/made", O_RDWR) >= 0, open("other", O_RDWR) >= 0);
  return 0;
}
`;

test.skipIf(!compiler || process.geteuid?.() !== 0)(
  'extended attributes and access lists are the host’s, and the guest goes by them',
  async () => {
    const source = join(base, 'access.c');
    writeFileSync(source, ACCESS_PROGRAM);
    execFileSync('riscv64-linux-gnu-gcc', ['-static', '-O1', '-o', join(folder, 'access'), source]);
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'folder'), { mode: 0o755 });
    for (const name of ['file', 'other']) writeFileSync(join(folder, name), '', { mode: 0o600 });
    expect(await inGuest('/work/access')).toEqual([0, '0 5 hello -1 0 0\n1 1 0\n', '']);
    // The group's bits are the list's mask now; the umask did not count where a list did.
    expect([statSync(join(folder, 'file')).mode & 0o777, statSync(join(folder, 'folder/made')).mode & 0o777]).toEqual([
      0o770, 0o660,
    ]);
  },
);

test.skipIf(!compiler)('access lists of the guest’s users are the guest’s where Ringfence is not root', async () => {
  const source = join(base, 'access.c');
  writeFileSync(source, ACCESS_PROGRAM);
  execFileSync('riscv64-linux-gnu-gcc', ['-static', '-O1', '-o', join(folder, 'access'), source]);
  mkdirSync(join(folder, 'folder'));
  for (const name of ['file', 'other']) writeFileSync(join(folder, name), '', { mode: 0o600 });
  const asRoot = process.geteuid?.() === 0;
  if (asRoot) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, base]);
  const script =
    '/work/access; su -s /bin/sh nobody -c "cat /work/folder/made && echo read; echo x >/work/other" 2>/dev/null; :';
  try {
    if (asRoot) become(NOBODY);
    const { shares, close } = await openShares([{ host: folder, guest: 'work', readOnly: false }], () => 'work');
    // The image may be root's alone. Before the guest asks for anything it is over.
    if (asRoot) become(0);
    const guest = await Guest.create({ suite: 'stable', argv: ['sh', '-c', script], shares });
    if (asRoot) become(NOBODY);
    guest.feed('', true);
    expect(await guest.end()).toEqual({ kind: 'poweroff' });
    await close();
    expect([guest.stdout.text, guest.stderr.text]).toEqual(['0 5 hello -1 0 0\n1 1 0\nread\n', '']);
  } finally {
    if (asRoot) become(0);
  }
  expect(statSync(join(folder, 'file')).mode & 0o777).toBe(0o770);
  if (!asRoot) return;
  // The mode says that the group may, for the guest's user does; on this computer the list's own entry for the group counts.
  const read = (user: number): number | null =>
    spawnSync('setpriv', [`--reuid=${user}`, `--regid=${NOBODY}`, '--clear-groups', 'cat', join(folder, 'file')])
      .status;
  expect([read(NOBODY), read(NOBODY - 1)]).toEqual([0, 1]);
});

/** This process goes on as that user, until it is root again. */
function become(id: number): void {
  process.seteuid?.(0);
  process.setegid?.(id);
  process.seteuid?.(id);
}

test('with writeback the guest holds small writes back, and loses none', async () => {
  writeFileSync(join(folder, 'log'), 'host\n');
  const tree = await SharedTree.open(folder);
  const script = `
    cd /files; for n in $(seq 1 300); do echo $n; done >numbers; echo guest >>log
    dd if=/dev/zero of=zeros bs=100 count=5000 2>/dev/null; dd if=log of=log bs=1 count=4 seek=7 conv=notrunc 2>/dev/null
    cat log; sync; touch -d '1970-01-02 00:00:10' numbers`;
  const guest = await Guest.create({
    suite: 'stable',
    argv: ['sh', '-c', script],
    shares: [{ tag: 'files', tree, writeback: true }],
  });
  guest.feed('', true);
  expect(await guest.end()).toEqual({ kind: 'poweroff' });
  await tree.close();
  expect([guest.stdout.text, guest.stderr.text]).toEqual(['host\nguhost', '']);
  expect(text('numbers')).toBe(Array.from({ length: 300 }, (_, index) => `${index + 1}\n`).join(''));
  expect([text('log'), statSync(join(folder, 'zeros')).size]).toEqual(['host\nguhost', 500_000]);
  expect(statSync(join(folder, 'numbers')).mtimeMs).toBe(86_410_000);
});

describe('bad input', () => {
  test.each([
    [
      'nothing',
      (path: string) => `${path}/none:/work`,
      /the folder ".*none" cannot be shared: there is no such folder/,
    ],
    ['a file', (path: string) => `${path}/file:/work`, /the folder ".*file" cannot be shared: it is not a folder/],
    ['no place', (path: string) => path, /--share ".*" is not understood; write it as --share HOST:GUEST\[:ro\]/],
    ['a relative place', (path: string) => `${path}:work`, /is not understood/],
    ['the whole guest', (path: string) => `${path}:/`, /cannot be mounted over the whole file system of the guest/],
    ['a way up', (path: string) => `${path}:/a/../b`, /has "\.\."/],
  ])('%s', async (_, share, sentence) => {
    writeFileSync(join(folder, 'file'), '');
    const [code, stdout, stderr] = await answer(['run', '--share', share(folder), '--', 'true']);
    expect([code, stdout]).toEqual([125, '']);
    expect(stderr).toMatch(sentence);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test('a place where nothing can be mounted', async () => {
    const words = ['run', '--share', `${folder}:/etc/passwd/x`, '--', 'echo', 'ran'];
    const [code, stdout, stderr] = await answer(words);
    expect([code, stdout]).toEqual([125, '']);
    expect(stderr).toBe(
      `ringfence: the folder "${folder}" could not be mounted at "/etc/passwd/x" in the guest; --verbose shows the guest's messages\n`,
    );
  });
});
