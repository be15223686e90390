/**
 * PostgreSQL under pgbench, and what is left of it when the process that runs its machine is killed in the middle: the plug is pulled by the
 * system (SIGKILL), so nothing of ours gets to write anything. The data lies on a qcow2 image, in which QEMU must find no corruption then.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createQcow2 } from '@ringfence/core';
import { check } from '@ringfence/core/testing/qemu-img';
import { DiskFile, type VMOptions } from '@ringfence/host';
import { indented, script, start } from './in-guest.ts';

const LAUNCHER = join(import.meta.dirname, '../../packages/cli/bin/ringfence.js');
const DISK_BYTES = 1024 ** 3;
const CPUS = 2;
/** How long it commits before the plug is pulled. */
const LOAD_MS = 15_000;
const LOADING = 'the load begins';

/** The folder of data, and words for what is done as the database's user. */
const SERVICE = String.raw`
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir -p /data && mount /dev/vdb /data
run() { su postgres -c "PATH=$bin:$PATH; $*"; }
begin() { run "pg_ctl -D /data/db -o '-c fsync=on -c listen_addresses= -k /tmp' -l /data/log -w -t 600 start >/dev/null"; }`;

const FIRST = String.raw`
install -d -o postgres /data/db
touch /data/log
chown postgres /data/log
run "initdb -D /data/db >/dev/null"
begin
run "createdb -h /tmp bench && pgbench -h /tmp -i -q bench 2>/dev/null && pgbench -h /tmp -c 4 -j 2 -t 100 bench"
run "pg_ctl -D /data/db -w stop >/dev/null"
umount /data`;

const LOAD = String.raw`
begin
echo "${LOADING}"
run "pgbench -h /tmp -n -c 4 -j 2 -T 3600 bench"`;

/** Every transaction of pgbench adds its delta to three sums and writes a line of history: they agree, or one was lost. */
const SUMS = `
  select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
    and (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)
    and (select sum(tbalance) from pgbench_tellers) = (select coalesce(sum(delta), 0) from pgbench_history),
    (select count(*) from pgbench_history)`.replaceAll(/\s+/g, ' ');

const AFTER = String.raw`
begin
run "psql -h /tmp -At bench -c '${SUMS}'"
run "pg_ctl -D /data/db -w stop >/dev/null"
grep -c 'database system was not properly shut down' /data/log`;

export async function postgresql(image: VMOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ringfence-postgresql-'));
  // The machine's own disk goes with it, so the database lies on one that stays.
  const disk = join(folder, 'data.qcow2');
  const options = { ...image, cpus: CPUS, disks: [disk] };
  try {
    const file = await DiskFile.create(disk);
    await createQcow2(file, { sizeBytes: DISK_BYTES });
    await file.close();
    const said = await inMachine(options, `mkfs.ext4 -q /dev/vdb\n${SERVICE}${FIRST}`);
    if (!said.includes('number of failed transactions: 0')) throw new Error(`pgbench did not pass:\n${indented(said)}`);
    await loadUntilKilled(image, disk);
    // Leaked clusters are what a kill may leave behind (docs/disks.md).
    const { corruptions, errors, leaks } = check(disk);
    if (corruptions + errors > 0) throw new Error(`after the kill qemu-img check finds ${corruptions} corruptions`);
    const after = await inMachine(options, `${SERVICE}${AFTER}`);
    const [sums = '', recoveries = '0'] = after.split('\n');
    const [agree, lines] = sums.split('|');
    if (agree !== 't' || recoveries === '0' || Number(lines) <= 400) throw new Error(`after the kill: ${after}`);
    const tps = /tps = ([\d.]+)/.exec(said)?.[1];
    return `${tps} transactions/s; ${lines} survived the kill, sums agree, qemu-img: no corruption, ${leaks} leaked clusters`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function inMachine(options: VMOptions, text: string): Promise<string> {
  await using vm = await start(options);
  return await script(vm, text);
}

/** Runs the load in a process of its own, and kills that while transactions are on their way. */
async function loadUntilKilled(image: VMOptions, disk: string): Promise<void> {
  const packages = image.packages?.join(',') ?? '';
  const words = [
    LAUNCHER,
    'run',
    image.image ?? 'debian',
    '--packages',
    packages,
    '--cpus',
    String(CPUS),
    '--disk',
    disk,
  ];
  if (image.suite !== undefined) words.push('--suite', image.suite);
  const child = spawn(process.execPath, [...words, '--', 'bash', '-ec', `${SERVICE}${LOAD}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const begun = new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      said += chunk.toString();
      if (said.includes(LOADING)) resolve();
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', reject);
    child.on('close', (code) => reject(new Error(`the load ended with ${String(code)}:\n${indented(said)}`)));
  });
  try {
    await begun;
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
    if (child.exitCode !== null) throw new Error(`the load ended by itself:\n${indented(said)}`);
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  }
}
