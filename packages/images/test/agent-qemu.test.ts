/** The same agent behind somebody else's console device: QEMU's, whose port is a socket that the host connects and leaves. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT_PORT_NAME, AgentClient, type AgentOutput } from '@ringfence/core';
import { nodeClock, nodeTurns, within } from '@ringfence/core/testing/node-host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandArchive, openTiny } from '../src/index.ts';
import { SocketPort } from './testing/native-agent.ts';
import { hasQemu } from './testing/qemu.ts';

const LONGEST_BOOT_MS = 120_000;
/** Shorter than what a client takes for an agent that has to begin anew. */
const TRY_MS = 15_000;

describe.skipIf(!hasQemu)('the agent in a guest of QEMU', () => {
  let folder = '';
  let qemu: ChildProcess;
  let ended: Promise<unknown>;
  beforeAll(async () => {
    const image = await openTiny();
    folder = mkdtempSync(join(tmpdir(), 'ringfence-agent-qemu-'));
    const command = commandArchive({ argv: [], interactive: false, agent: true });
    writeFileSync(join(folder, 'initrd'), Buffer.concat([readFileSync(image.initrdPath), command]));
    const options: readonly (readonly [option: string, value: string])[] = [
      ['-M', 'virt'],
      ['-m', '512'],
      ['-kernel', image.kernelPath],
      ['-initrd', join(folder, 'initrd')],
      ['-append', ['console=ttyS0', 'quiet', 'panic=-1', ...image.kernelParameters].join(' ')],
      ['-device', 'virtio-serial-pci'],
      ['-chardev', `socket,id=agent,path=${join(folder, 'agent')},server=on,wait=off`],
      ['-device', `virtserialport,chardev=agent,name=${AGENT_PORT_NAME}`],
    ];
    qemu = spawn('qemu-system-riscv64', ['-nographic', '-no-reboot', ...options.flat()]);
    ended = once(qemu, 'close');
  });
  afterAll(() => {
    qemu?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  /** Connects, as often as it takes for the guest to have an agent. */
  async function connected(): Promise<AgentClient> {
    for (const until = Date.now() + LONGEST_BOOT_MS; ;) {
      const socket = connect(join(folder, 'agent'));
      const client = new AgentClient(new SocketPort(socket), { clock: nodeClock, timers: nodeTurns });
      try {
        const closed = once(socket, 'close').then(() => Promise.reject(new Error('nobody is there')));
        await Promise.race([client.ready({ timeoutMs: TRY_MS }), closed]);
        return client;
      } catch (error) {
        client.close();
        if (Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  test('serves one host after another, and shuts down', async () => {
    const first = await connected();
    const running = await first.exec({ argv: ['sh', '-c', 'uname -m; sleep 1234'] });
    const lines = running.stdout[Symbol.asyncIterator]();
    expect(await lines.next()).toEqual({ done: false, value: new TextEncoder().encode('riscv64\n') });
    const content = new Uint8Array(1_000_000).map((_, at) => (at * at) >> 7);
    await first.writeFile('/tmp/file', content);
    first.close();
    await expect(running.exited).rejects.toMatchObject({ code: 'closed' });

    const second = await connected();
    expect(await second.readFile('/tmp/file')).toEqual(content);
    const left = async (): Promise<string> => {
      const { stdout } = await second.exec({ argv: ['sh', '-c', 'ps | grep -c "[s]leep 1234"'] });
      return textOf(stdout);
    };
    await expect.poll(left, { timeout: 30_000 }).toBe('0\n');
    await second.shutdown('poweroff');
    await within(ended, 60_000, "the guest's end");
    second.close();
  });
});

async function textOf(output: AgentOutput): Promise<string> {
  let text = '';
  for await (const bytes of output) text += new TextDecoder().decode(bytes);
  return text;
}
