/** `ringfence ps`: the virtual machines of this user that run. */

import process from 'node:process';
import { RemoteVM, type VMStatus } from '@ringfence/host/control';
import { formatSize } from '@ringfence/core/sizes';
import { EXIT } from '../exit-codes.ts';
import { plainText } from '../failure.ts';
import { textTable } from '../text-table.ts';
import { say } from './say.ts';

export interface ListOptions {
  readonly json?: boolean | undefined;
}

/** Words of a command that a table has room for. */
const COMMAND_COLUMNS = 32;

export async function listMachines({ json }: ListOptions): Promise<number> {
  const found = await RemoteVM.list();
  const running = found.flatMap(({ status }) => status ?? []);
  if (json === true) process.stdout.write(`${JSON.stringify(running, null, 2)}\n`);
  else if (found.length === 0) say('no virtual machine is running; "ringfence run" starts one');
  else if (running.length > 0) {
    const rows = running.map((status) => row(status, Date.now()));
    process.stdout.write(textTable(['NAME', 'IMAGE', 'STATE', 'AGE', 'MEMORY', 'PORTS', 'PID', 'COMMAND'], rows));
  }
  const silent = found.filter(({ status }) => status === undefined);
  for (const { problem = 'it does not answer', name } of silent) say(`"${name}": ${problem}`);
  return silent.length > 0 ? EXIT.FAILED : EXIT.OK;
}

function row(status: VMStatus, nowMs: number): string[] {
  const { name, image, state, startedAt, memoryBytes, ports, pid, command } = status;
  const text = plainText(command.join(' ').replaceAll(/\s+/g, ' '));
  return [
    name,
    image,
    state,
    age(nowMs - Date.parse(startedAt)),
    formatSize(memoryBytes),
    ports
      .map(({ address, hostPort, guestPort, protocol }) => {
        const host = address.includes(':') ? `[${address}]` : address;
        return `${host}:${hostPort}->${guestPort}/${protocol}`;
      })
      .join(', ') || '-',
    String(pid),
    text.length > COMMAND_COLUMNS ? `${text.slice(0, COMMAND_COLUMNS - 3)}...` : text || '-',
  ];
}

/** Like 3 m. */
function age(ms: number): string {
  const units: readonly [string, number][] = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ];
  const [unit, size] = units.find(([, each]) => ms >= each) ?? ['s', 1000];
  return `${Math.max(0, Math.floor(ms / size))} ${unit}`;
}
