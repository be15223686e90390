/** What a machine's process may do of what it could do, tried out in such a process. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { machineFolder } from '../machine-folder/layout.ts';
import { permissionOptions } from './permissions.ts';

let base = '';
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'ringfence-permissions-'));
  for (const name of ['vm/disks', 'vm/run', 'vm/image', 'other', 'behind'])
    mkdirSync(join(base, name), { recursive: true });
  for (const name of ['vm/vm.yaml', 'vm/disks/a.qcow2', 'other/secret', 'behind/base.qcow2'])
    writeFileSync(join(base, name), 'x');
});
afterAll(() => rmSync(base, { recursive: true }));

/** What a program in such a process says that worked, and what did not. */
function tried(attempts: Readonly<Record<string, string>>): Record<string, string> {
  const { href } = new URL('../machine/permissions.ts', import.meta.url);
  const tries = Object.entries(attempts).map(
    ([name, code]) => `try { ${code}; said[${JSON.stringify(name)}] = 'done'; }
      catch (error) { said[${JSON.stringify(name)}] = error.code; }`,
  );
  const program = `
    import { execFileSync } from 'node:child_process';
    import { readFileSync, writeFileSync } from 'node:fs';
    import { createServer, connect } from 'node:net';
    import { Worker } from 'node:worker_threads';
    import { giveUp } from ${JSON.stringify(href)};
    const said = {};
    ${tries.join('\n')}
    console.log(JSON.stringify(said));
    process.exit();`;
  // The folder of the sources may be read, so the program is there for Node.
  const disks = { specs: [], writable: [], readable: [join(base, 'behind/base.qcow2')] };
  const options = permissionOptions(machineFolder(join(base, 'vm')), disks);
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
