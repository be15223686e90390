/** The guest agent in Debian's kernel, as the image tiny starts it: what docs/guest-agent.md promises. */

import { createHash, randomBytes } from 'node:crypto';
import {
  type AgentCommand,
  type AgentFileStatus,
  type AgentOutput,
  type AgentTreeStep,
  AgentClient,
  MemoryBlockStore,
} from '@ringfence/core';
import { nodeClock, nodeTurns, within } from '@ringfence/core/testing/node-host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentGuest } from './testing/agent-guest.ts';

const LONGEST_BOOT_MS = 120_000;
const LONGEST_STEP_MS = 60_000;
const DISK_BYTES = 16 << 20;

/** Of ext2's superblock (Linux, Documentation/filesystems/ext4/super.rst): s_magic, and s_state, which is 1 when it was unmounted. */
const SUPERBLOCK = { magic: 1024 + 0x38, state: 1024 + 0x3a };

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function textOf(output: AgentOutput): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of output) text += decoder.decode(bytes, { stream: true });
  return text;
}

describe('the agent in a guest', () => {
  const disk = new Uint8Array(DISK_BYTES);
  let guest: AgentGuest;
  let client: AgentClient;
  beforeAll(async () => {
    guest = await AgentGuest.boot('stable', [{ store: new MemoryBlockStore(disk), serial: 'disk' }]);
    ({ client } = guest);
    await client.ready({ timeoutMs: LONGEST_BOOT_MS });
  });
  afterAll(async () => {
    client.close();
    await guest.stop();
  });

  /** What a command of the shell says, on both streams. */
  async function shell(script: string, more: Partial<AgentCommand> = {}): Promise<string> {
    const running = await client.exec({ argv: ['sh', '-c', script], stdin: 'empty', ...more });
    const [out, err] = await Promise.all([textOf(running.stdout), textOf(running.stderr)]);
    return out + err;
  }

  test('runs commands side by side, each with its streams, environment, user and folder', async () => {
    const all = await Promise.all(
      Array.from({ length: 12 }, async (_, number) => {
        const input = randomBytes(50_000 + number);
        const running = await client.exec({
          argv: ['sh', '-c', 'md5sum; echo "$NUMBER $HOME $USER $(pwd) $(id -u)" >&2; exit $NUMBER'],
          env: { NUMBER: String(number) },
          user: number % 2 === 0 ? 'root' : 'nobody',
          workdir: '/usr',
        });
        await running.stdin.write(input);
        running.stdin.end();
        const [out, err] = await Promise.all([textOf(running.stdout), textOf(running.stderr)]);
        const sum = createHash('md5').update(input).digest('hex');
        return [out === `${sum}  -\n`, err, await running.exited];
      }),
    );
    expect(all).toEqual(
      all.map((_, number) => [
        true,
        number % 2 === 0 ? `${number} /root root /usr 0\n` : `${number} / nobody /usr 65534\n`,
        { kind: 'exited', code: number },
      ]),
    );
  });

  test('makes a program that floods wait, in little memory, and no other', async () => {
    const resident = async (): Promise<number> =>
      Number(/VmRSS:\s+(\d+)/.exec(await shell('cat /proc/$(pidof ringfence-agent)/status'))?.[1]);
    const before = await resident();
    const floods = await Promise.all(Array.from({ length: 5 }, () => client.exec({ argv: ['yes'], stdin: 'empty' })));
    expect(await shell('echo still here')).toBe('still here\n');
    expect((await resident()) - before).toBeLessThan(1024);
    for (const flood of floods) flood.close();
    await expect.poll(() => shell('pidof yes'), { timeout: LONGEST_STEP_MS }).toBe('');
  });

  test('gives a terminal that can be resized, with keys that interrupt', async () => {
    const running = await client.exec({ argv: ['sh', '-l'], terminal: { columns: 90, rows: 30 } });
    let screen = '';
    let look = (): void => {};
    const shown = (words: string): Promise<void> =>
      within(
        new Promise((resolve) => {
          look = () => {
            if (!screen.includes(words)) return;
            screen = screen.slice(screen.indexOf(words) + words.length);
            resolve();
          };
          look();
        }),
        LONGEST_STEP_MS,
        words,
      );
    const reading = (async () => {
      for await (const bytes of running.stdout) {
        screen += new TextDecoder().decode(bytes);
        look();
      }
    })();
    await running.stdin.write(utf8('stty size; tty\n'));
    await shown('30 90\r\n/dev/pts/');
    running.resize(120, 40);
    await running.stdin.write(utf8('stty size\n'));
    await shown('40 120');
    // What says that it is there is in the foreground already: before, the key would be the shell's.
    await running.stdin.write(utf8("sh -c 'echo $((6 * 7)); exec sleep 1000'\n"));
    await shown('\n42');
    await running.stdin.write(utf8('\u0003'));
    await running.stdin.write(utf8('echo $((7 * 7)); exit 3\n'));
    await shown('\n49');
    expect(await running.exited).toEqual({ kind: 'exited', code: 3 });
    await reading;
  });

  test('copies a tree in and out, and it is the same; in the guest, too', async () => {
    const tree = someTree();
    await client.copyIn('/tmp/tree', tree, { keepOwners: true });
    const back: AgentTreeStep[] = [];
    for await (const step of client.copyOut('/tmp/tree')) back.push(step);
    expect(merged(back)).toEqual(merged(tree));
    const listing = await shell(
      'cd /tmp/tree && stat -c "%n %a %u:%g %Y" folder folder/set-id link && readlink link && stat -c %h folder/first && stat -c %b sparse && sha256sum <big',
    );
    const big = tree.find((step) => step.kind === 'data' && step.bytes.length > 100_000);
    expect(listing).toBe(
      `folder 1751 7:8 1000000000\nfolder/set-id 4755 0:0 1500000000\nlink 777 0:0 1234567890\nfolder/first\n2\n8\n${
        big?.kind === 'data' ? sha256(big.bytes) : ''
      }  -\n`,
    );
    const content = randomBytes(3 << 20);
    await client.writeFile('/tmp/file', content, { mode: 0o600, user: 'nobody' });
    expect(await client.stat('/tmp/file')).toMatchObject({
      kind: 'file',
      mode: 0o600,
      uid: 65534,
      sizeBytes: content.length,
    });
    expect(sha256(await client.readFile('/tmp/file'))).toBe(sha256(content));
    await expect(client.readFile('/root/none')).rejects.toMatchObject({ errno: 'ENOENT' });
    await expect(client.writeFile('/usr/new', content, { user: 'nobody' })).rejects.toMatchObject({
      errno: 'EACCES',
      message: 'The guest could not write "/usr/new": permission is denied (EACCES).',
    });
  });

  test('sets the clock, when it is wrong', async () => {
    expect(Math.abs(Number((await client.setTime()).behindNs))).toBeLessThan(10e9);
    await shell('date -s "2001-02-03 04:05:06"');
    const change = await client.setTime();
    expect([change.wasSet, change.behindNs > 10n ** 17n]).toEqual([true, true]);
    expect(Math.abs(Number(await shell('date +%s')) - Date.now() / 1000)).toBeLessThan(10);
  });

  test('freezes file systems, and what writes there waits', async () => {
    await shell('mke2fs /dev/vda && mkdir /mnt/disk && mount /dev/vda /mnt/disk && echo before >/mnt/disk/file');
    const frozen = await client.freeze();
    expect(frozen.count).toBe(1);
    const writer = client.exec({ argv: ['sh', '-c', 'echo after >/mnt/disk/file; echo done'], stdin: 'empty' });
    expect(await shell('cat /mnt/disk/file; sleep 0.2; cat /mnt/disk/file')).toBe('before\nbefore\n');
    await frozen.thaw();
    expect(await frozen.thawed).toBe('asked');
    expect(await textOf((await writer).stdout)).toBe('done\n');
    const forgotten = await client.freeze({ thawAfterMs: 200 });
    expect(await within(forgotten.thawed, LONGEST_STEP_MS, 'the thaw')).toBe('timeout');
    expect(await shell('echo again >/mnt/disk/file; cat /mnt/disk/file')).toBe('again\n');
  });

  test('freezes nothing, and says so, when there is more mounted than it can know of', async () => {
    const path = `/tmp/${Array(13).fill('x'.repeat(250)).join('/')}`;
    await shell(`mkdir -p ${path} && for i in $(seq 170); do mount --bind ${path} ${path} || exit 1; done`);
    try {
      await expect(client.freeze()).rejects.toMatchObject({ code: 'refused', errno: 'E2BIG' });
    } finally {
      await shell(`while umount ${path} 2>/dev/null; do :; done`);
    }
  });

  test('ends what a host has started when that goes away, and serves the next', async () => {
    const running = await client.exec({ argv: ['sh', '-c', 'sleep 1111 & sleep 1112'] });
    client.close();
    await expect(running.exited).rejects.toMatchObject({ code: 'closed' });
    const port = guest.machine.console?.ports[0];
    if (port === undefined) throw new Error('the machine has no port');
    client = new AgentClient(port, { clock: nodeClock, timers: nodeTurns });
    await client.ready({ timeoutMs: LONGEST_STEP_MS });
    await expect.poll(() => shell('ps | grep -c "[s]leep 111[12]"'), { timeout: LONGEST_STEP_MS }).toBe('0\n');
    // Long after, the agent has its end open again and waits.
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    client = new AgentClient(port, { clock: nodeClock, timers: nodeTurns });
    await client.ready({ timeoutMs: LONGEST_STEP_MS });
    // A second client begins anew as well, with the first still there.
    const other = new AgentClient(port, { clock: nodeClock, timers: nodeTurns });
    await other.ready({ timeoutMs: LONGEST_STEP_MS });
    client = other;
    expect(await shell('echo served')).toBe('served\n');
  });

  test('comes again when it was killed, and thaws what was frozen', async () => {
    const running = await client.exec({ argv: ['sleep', '1000'] });
    await client.freeze();
    await client.exec({ argv: ['sh', '-c', 'kill -9 $(pidof ringfence-agent | tr " " "\n" | sort -n | head -n 1)'] });
    await expect(running.exited).rejects.toMatchObject({ code: 'lost' });
    await client.ready({ timeoutMs: LONGEST_STEP_MS });
    expect(await shell('echo thawed >/mnt/disk/file; cat /mnt/disk/file')).toBe('thawed\n');
  });

  test('shuts the machine down, with its disks in order', async () => {
    const fields = new DataView(disk.buffer);
    await shell('sync');
    expect([fields.getUint16(SUPERBLOCK.magic, true), fields.getUint16(SUPERBLOCK.state, true) & 1]).toEqual([
      0xef53, 0,
    ]);
    await client.exec({ argv: ['sh', '-c', 'trap "" TERM; cd /tmp; while :; do sleep 1; done'], stdin: 'empty' });
    await client.shutdown('poweroff');
    expect(await guest.ended()).toEqual({ kind: 'poweroff' });
    expect(fields.getUint16(SUPERBLOCK.state, true) & 1).toBe(1);
  });
});

test('the agent in the kernel of testing restarts the machine', async () => {
  const guest = await AgentGuest.boot('testing');
  const hello = await guest.client.ready({ timeoutMs: LONGEST_BOOT_MS });
  expect(hello.agent).toMatch(/^ringfence-agent \d+$/);
  const running = await guest.client.exec({ argv: ['uname', '-m'] });
  expect(await textOf(running.stdout)).toBe('riscv64\n');
  await guest.client.shutdown('reboot');
  expect(await guest.ended()).toEqual({ kind: 'reboot' });
  await guest.stop();
});

function status(kind: AgentFileStatus['kind'], more: Partial<AgentFileStatus> = {}): AgentFileStatus {
  return {
    kind,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeNs: 1_500_000_000_000_000_000n,
    sizeBytes: 0,
    device: { major: 0, minor: 0 },
    target: new Uint8Array(0),
    ...more,
  };
}

/** Something of everything, in the order in which a guest sends it. */
function someTree(): AgentTreeStep[] {
  const path = (...names: string[]): Uint8Array[] => names.map(utf8);
  const big = randomBytes(1_000_000);
  return [
    { kind: 'entry', path: [], status: status('folder', { mode: 0o755 }) },
    { kind: 'entry', path: path('big'), status: status('file', { sizeBytes: big.length }) },
    { kind: 'data', offsetBytes: 0, bytes: big },
    { kind: 'entry', path: path('fifo'), status: status('fifo', { mode: 0o600, mtimeNs: 1_000_000_001n }) },
    {
      kind: 'entry',
      path: path('folder'),
      status: status('folder', { mode: 0o1751, uid: 7, gid: 8, mtimeNs: 1_000_000_000_000_000_000n }),
    },
    { kind: 'entry', path: path('folder', 'empty'), status: status('folder', { mode: 0o700 }) },
    { kind: 'entry', path: path('folder', 'first'), status: status('file', { sizeBytes: 5 }) },
    { kind: 'data', offsetBytes: 0, bytes: utf8('first') },
    { kind: 'entry', path: path('folder', 'set-id'), status: status('file', { mode: 0o4755 }) },
    {
      kind: 'entry',
      path: path('link'),
      status: status('symlink', {
        mode: 0o777,
        target: utf8('folder/first'),
        sizeBytes: 12,
        mtimeNs: 1_234_567_890_987_654_321n,
      }),
    },
    { kind: 'entry', path: path('null'), status: status('character-device', { device: { major: 1, minor: 3 } }) },
    { kind: 'hard-link', path: path('second'), to: path('folder', 'first') },
    { kind: 'entry', path: path('sparse'), status: status('file', { sizeBytes: 10_000_000 }) },
    { kind: 'data', offsetBytes: 8192, bytes: new Uint8Array(4096).fill(1) },
    { kind: 'entry', path: [Uint8Array.of(0xc3, 0x28, 0x0a)], status: status('file') },
  ];
}

/** Data in as few pieces as it can be, and of folders no size, which is the file system's own. */
function merged(steps: readonly AgentTreeStep[]): AgentTreeStep[] {
  const all: AgentTreeStep[] = [];
  for (const step of steps) {
    const last = all.at(-1);
    if (step.kind === 'data' && last?.kind === 'data' && last.offsetBytes + last.bytes.length === step.offsetBytes)
      all[all.length - 1] = { ...last, bytes: Uint8Array.from([...last.bytes, ...step.bytes]) };
    else if (step.kind === 'data') all.push({ ...step, bytes: Uint8Array.from(step.bytes) });
    else if (step.kind === 'entry' && step.status.kind === 'folder')
      all.push({ ...step, status: { ...step.status, sizeBytes: 0 } });
    else all.push(step);
  }
  return all;
}
