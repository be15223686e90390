/** A guest in QEMU's `virt` machine with Ringfence's ports, each of them a socket on this side. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandArchive, type GuestCommand, type TinyImage } from '../../src/index.ts';

export const hasQemu = spawnSync('qemu-system-riscv64', ['--version']).status === 0;

export interface Guest {
  readonly image: TinyImage;
  readonly command: GuestCommand;
  /** Sent and ended; undefined leaves the input open. */
  readonly stdin?: string | Uint8Array | undefined;
  /** What is done with the console, hvc0. */
  readonly onConsole?: (console: Socket) => void;
  readonly disks?: readonly string[];
}

export interface GuestResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly control: string;
  /** The kernel's own words. */
  readonly serial: string;
}

const PORTS = ['console', 'stdin', 'stdout', 'stderr', 'control'] as const;
const TIMEOUT_MS = 90_000;

export async function runInQemu({ image, command, stdin, onConsole, disks = [] }: Guest): Promise<GuestResult> {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-qemu-'));
  const received = new Map<string, Buffer[]>(PORTS.map((name) => [name, []]));
  const servers: Server[] = [];
  try {
    for (const name of PORTS) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (data: Buffer) => received.get(name)?.push(data));
        if (name === 'stdin' && stdin !== undefined) socket.end(stdin);
        if (name === 'console') onConsole?.(socket);
      });
      await once(server.listen(join(folder, name)), 'listening');
      servers.push(server);
    }
    writeFileSync(join(folder, 'initrd'), Buffer.concat([readFileSync(image.initrdPath), commandArchive(command)]));
    const device = (name: string, number: number): string =>
      number === 0
        ? 'virtconsole,chardev=c0,nr=0'
        : `virtserialport,chardev=c${number},name=ringfence.${name},nr=${number}`;
    const append = ['console=ttyS0', 'quiet', 'panic=-1', ...image.kernelParameters].join(' ');
    const options: (readonly [option: string, value: string])[] = [
      ['-M', 'virt'],
      ['-smp', '1'],
      ['-m', '512'],
      ['-kernel', image.kernelPath],
      ['-initrd', join(folder, 'initrd')],
      ['-append', append],
      ['-device', 'virtio-serial-pci'],
    ];
    for (const [number, name] of PORTS.entries()) {
      options.push(['-chardev', `socket,id=c${number},path=${join(folder, name)}`], ['-device', device(name, number)]);
    }
    for (const [number, path] of disks.entries()) {
      options.push(
        ['-drive', `file=${path},format=raw,if=none,id=d${number}`],
        ['-device', `virtio-blk-pci,drive=d${number}`],
      );
    }
    const qemu = spawn('qemu-system-riscv64', ['-nographic', '-no-reboot', ...options.flat()]);
    let serial = '';
    qemu.stdout.on('data', (data: Buffer) => (serial += data.toString()));
    const timer = setTimeout(() => qemu.kill('SIGKILL'), TIMEOUT_MS);
    await once(qemu, 'close');
    clearTimeout(timer);
    const all = (name: string): Buffer => Buffer.concat(received.get(name) ?? []);
    return { stdout: all('stdout'), stderr: all('stderr'), control: all('control').toString(), serial };
  } finally {
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Answers the guest's words one after another: when it has said the first, it hears the second. */
export function conversation(turns: readonly (readonly [heard: string, said: string])[]): {
  talk: (console: Socket) => void;
  log: () => string;
} {
  let log = '';
  let unread = '';
  const left = [...turns];
  const talk = (console: Socket): void => {
    console.on('data', (data) => {
      log += data.toString();
      unread += data.toString();
      for (let turn = left[0]; turn !== undefined && unread.includes(turn[0]); turn = left[0]) {
        unread = unread.slice(unread.indexOf(turn[0]) + turn[0].length);
        console.write(turn[1]);
        left.shift();
      }
    });
  };
  return { talk, log: () => log };
}
