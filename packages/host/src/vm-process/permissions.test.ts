/** What a machine's process may do of what it could do, tried out in such a process. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process, { execPath } from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labelFolder, MAXIMUM_LABELLED } from '../machine-folder/label-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import { keeperPermissionOptions, labelPermissionOptions, permissionOptions, writing } from './permissions.ts';

let base = '';
let processes = 0;
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'ringfence-permissions-'));
  for (const name of ['vm/disks', 'vm/run', 'vm/image', 'other', 'behind'])
    mkdirSync(join(base, name), { recursive: true });
  for (const name of ['vm/vm.yaml', 'vm/disks/a.qcow2', 'other/secret', 'behind/base.qcow2'])
    writeFileSync(join(base, name), 'x');
});
afterAll(() => rmSync(base, { recursive: true }));

function ownOptions(): string[] {
  const disks = { specs: [], writable: [], readable: [join(base, 'behind/base.qcow2')] };
  return permissionOptions(machineFolder(join(base, 'vm')), disks);
}

/** What a program in such a process says that worked, and what did not. */
function tried(attempts: Readonly<Record<string, string>>, options = ownOptions()): Record<string, string> {
  const { href } = new URL('../machine/permissions.ts', import.meta.url);
  const { href: withdrawal } = new URL('../machine/withdrawal.ts', import.meta.url);
  const { href: locks } = new URL('../disk/disk-lock.ts', import.meta.url);
  const tries = Object.entries(attempts).map(
    ([name, code]) => `try { ${code}; said[${JSON.stringify(name)}] = 'done'; }
      catch (error) { said[${JSON.stringify(name)}] = error.code ?? error.name; }`,
  );
  const program = `
    import { execFileSync } from 'node:child_process';
    import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
    import { createServer, connect } from 'node:net';
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    import os from 'node:os';
    import process from 'node:process';
    import * as sqlite from 'node:sqlite';
    import { giveUp } from ${JSON.stringify(href)};
    import { holdDatabases, lockDisk } from ${JSON.stringify(locks)};
    import { withdraw } from ${JSON.stringify(withdrawal)};
    const server = createServer().listen(${JSON.stringify(join(base, 'vm/run', `${++processes}.sock`))});
    await once(server, 'listening');
    const database = new sqlite.DatabaseSync(${JSON.stringify(join(base, 'vm/disks/lock'))});
    database.exec('BEGIN EXCLUSIVE');
    const said = {};
    ${tries.join('\n')}
    console.log(JSON.stringify(said));
    process.exit();`;
  // The folder of the sources may be read, so the program is there for Node.
  const words = ['--disable-warning=SecurityWarning', ...options, '--input-type=module', '--eval', program];
  const out = execFileSync(execPath, words, { cwd: base, stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(out.toString()) as Record<string, string>;
}

test('it has its own files, and no others', () => {
  const file = (name: string): string => JSON.stringify(join(base, name));
  expect(
    tried({
      'read vm.yaml': `readFileSync(${file('vm/vm.yaml')})`,
      'read what is behind a disk': `readFileSync(${file('behind/base.qcow2')})`,
      'write a disk': `writeFileSync(${file('vm/disks/a.qcow2')}, 'y')`,
      'write of a run': `writeFileSync(${file('vm/run/console.log')}, 'y')`,
      'write vm.yaml': `writeFileSync(${file('vm/vm.yaml')}, 'y')`,
      'write what it boots': `writeFileSync(${file('vm/image/kernel')}, 'y')`,
      'write what is behind a disk': `writeFileSync(${file('behind/base.qcow2')}, 'y')`,
      'read of others': `readFileSync(${file('other/secret')})`,
      'read of the system': "readFileSync('/etc/passwd')",
      'read of other processes': "readFileSync('/proc/1/cmdline')",
    }),
  ).toEqual({
    'read vm.yaml': 'done',
    'read what is behind a disk': 'done',
    'write a disk': 'done',
    'write of a run': 'done',
    'write vm.yaml': 'ERR_ACCESS_DENIED',
    'write what it boots': 'ERR_ACCESS_DENIED',
    'write what is behind a disk': 'ERR_ACCESS_DENIED',
    'read of others': 'ERR_ACCESS_DENIED',
    'read of the system': 'ERR_ACCESS_DENIED',
    'read of other processes': 'ERR_ACCESS_DENIED',
  });
});

test('one that keeps a boot writes there and reads what it boots, and has nothing else', () => {
  const file = (name: string): string => JSON.stringify(join(base, name));
  for (const name of ['vm/image', 'booted/other']) mkdirSync(join(base, name), { recursive: true });
  writeFileSync(join(base, 'vm/image/kernel'), 'x');
  const key = { name: 'one', shape: '' };
  const options = keeperPermissionOptions(machineFolder(join(base, 'vm')), { folder: join(base, 'booted'), key });
  expect(options).not.toContain('--allow-net');
  const tries = {
    'write what is not finished': `mkdirSync(${file('booted/.new-1-ab')}); writeFileSync(${file('booted/.new-1-ab/pages')}, 'y')`,
    'write beside what is kept': `mkdirSync(${file('booted/one')}); writeFileSync(${file('booted/one/hot')}, 'y')`,
    'read what it boots': `readFileSync(${file('vm/image/kernel')})`,
    'write what it boots': `writeFileSync(${file('vm/image/kernel')}, 'y')`,
    'write another one': `writeFileSync(${file('booted/other/hot')}, 'y')`,
    'write a disk': `writeFileSync(${file('vm/disks/a.qcow2')}, 'y')`,
    'read vm.yaml': `readFileSync(${file('vm/vm.yaml')})`,
  };
  expect(
    tried(tries, [
      ...options,
      '--allow-net',
      writing(join(base, 'vm/run')),
      writing(join(base, 'vm/run/*')),
      writing(join(base, 'vm/disks/lock*')),
    ]),
  ).toEqual({
    'write what is not finished': 'done',
    'write beside what is kept': 'done',
    'read what it boots': 'done',
    'write what it boots': 'ERR_ACCESS_DENIED',
    'write another one': 'ERR_ACCESS_DENIED',
    'write a disk': 'ERR_ACCESS_DENIED',
    'read vm.yaml': 'ERR_ACCESS_DENIED',
  });
});

test('one that machines of a label share has the files of all that there may be, and none of another label', () => {
  const file = (name: string): string => JSON.stringify(join(base, name));
  for (const folder of ['@shop/1/disks', '@shop/1/image', '@bank/1/disks'])
    mkdirSync(join(base, folder), { recursive: true });
  for (const name of ['@shop/1/vm.yaml', '@bank/1/vm.yaml', '@shop/1/image/kernel'])
    writeFileSync(join(base, name), 'x');
  const last = `@shop/${MAXIMUM_LABELLED}`;
  const tries = {
    'read vm.yaml': `readFileSync(${file('@shop/1/vm.yaml')})`,
    'write a disk': `writeFileSync(${file('@shop/1/disks/a.qcow2')}, 'y')`,
    'make a folder of one that comes later': `mkdirSync(${file(`${last}/run`)})`,
    'write a disk of one that comes later': `writeFileSync(${file(`${last}/disks/a.qcow2`)}, 'y')`,
    'write vm.yaml': `writeFileSync(${file('@shop/1/vm.yaml')}, 'y')`,
    'write what it boots': `writeFileSync(${file('@shop/1/image/kernel')}, 'y')`,
    'read of another label': `readFileSync(${file('@bank/1/vm.yaml')})`,
    'write of another label': `writeFileSync(${file('@bank/1/disks/a.qcow2')}, 'y')`,
    'read of one without': `readFileSync(${file('vm/vm.yaml')})`,
  };
  const options = labelPermissionOptions(labelFolder(join(base, '@shop')));
  mkdirSync(join(base, last, 'disks'), { recursive: true });
  expect(tried(tries, options)).toEqual({
    'read vm.yaml': 'done',
    'write a disk': 'done',
    'make a folder of one that comes later': 'done',
    'write a disk of one that comes later': 'done',
    'write vm.yaml': 'ERR_ACCESS_DENIED',
    'write what it boots': 'ERR_ACCESS_DENIED',
    'read of another label': 'ERR_ACCESS_DENIED',
    'write of another label': 'ERR_ACCESS_DENIED',
    'read of one without': 'ERR_ACCESS_DENIED',
  });
});

test('it starts no programs, and no threads and no connections once it has given them up', () => {
  const listen = `createServer().listen(${JSON.stringify(join(base, 'vm/run/x.sock'))})`;
  expect(
    tried({
      'start a program': "execFileSync('true')",
      'start a thread': "new Worker('', { eval: true })",
      'give up': "giveUp('worker', 'child', 'inspector', 'net')",
      'start a thread afterwards': "new Worker('', { eval: true })",
      'listen afterwards': listen,
    }),
  ).toEqual({
    'start a program': 'ERR_ACCESS_DENIED',
    'start a thread': 'done',
    'give up': 'done',
    'start a thread afterwards': 'ERR_ACCESS_DENIED',
    'listen afterwards': 'ERR_ACCESS_DENIED',
  });
});

test('what that model leaves it is taken out of it: databases, signals, sockets that are files', () => {
  const file = (name: string): string => JSON.stringify(join(base, name));
  const { pid } = process;
  expect(
    tried({
      'write anywhere with a database': `database.exec("COMMIT; VACUUM INTO '${join(base, 'other/vacuum')}'; BEGIN EXCLUSIVE")`,
      'connect with a socket that is a file': `connect(${file('daemon.sock')})`,
      'signal another process': `process.kill(${pid}, 0)`,
      // As a process does that executes a guest before it has a socket.
      'give up ahead': "giveUp('child', 'inspector'); holdDatabases(); withdraw()",
      'give up': "giveUp('worker'); withdraw(server)",
      'write anywhere with a database afterwards': `database.exec("VACUUM INTO '${join(base, 'other/afterwards')}'")`,
      'use another one': `new sqlite.DatabaseSync(${file('other/new')}).exec('CREATE TABLE t(x)')`,
      'open another one by the module': `new (process.getBuiltinModule('node:sqlite').DatabaseSync)(${file('other/new')})`,
      'prepare a statement': "database.prepare('SELECT 1')",
      'lock a disk still': `lockDisk(${file('vm/disks/a.qcow2')}, 'a', false).release()`,
      'connect afterwards': `connect(${file('daemon.sock')})`,
      'listen afterwards': `createServer().listen(${file('vm/run/other.sock')})`,
      'see whether a process is there': `process.kill(${pid}, 0)`,
      'see that none is there': 'process.kill(2 ** 31 - 2, 0)',
      'signal another process afterwards': `process.kill(${pid}, 'SIGWINCH')`,
      'signal past that': `process._kill(${pid}, 28)`,
      'make a process debugged': `process._debugProcess(${pid})`,
      'slow another process': `os.setPriority(${pid}, 1)`,
      'call C': "process.getBuiltinModule('node:ffi').dlopen(null, {})",
      'connect over the network': "connect(1, '127.0.0.1').on('error', () => undefined)",
    }),
  ).toEqual({
    'write anywhere with a database': 'done',
    'connect with a socket that is a file': 'done',
    'signal another process': 'done',
    'give up ahead': 'done',
    'give up': 'done',
    'write anywhere with a database afterwards': 'TypeError',
    'use another one': 'TypeError',
    'open another one by the module': 'TypeError',
    'prepare a statement': 'TypeError',
    'lock a disk still': 'done',
    'connect afterwards': 'TypeError',
    'listen afterwards': 'TypeError',
    'see whether a process is there': 'done',
    'see that none is there': 'ESRCH',
    'signal another process afterwards': 'ERR_ACCESS_DENIED',
    'signal past that': 'TypeError',
    'make a process debugged': 'TypeError',
    'slow another process': 'TypeError',
    'call C': 'TypeError',
    'connect over the network': 'done',
  });
  expect(readdirSync(join(base, 'other')).toSorted()).toEqual(['new', 'secret', 'vacuum']);
  // That is all that can be made: something empty.
  expect(statSync(join(base, 'other/new')).size).toBe(0);
});
