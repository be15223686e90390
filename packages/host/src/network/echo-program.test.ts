import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { IpAddress } from '@ringfence/core';
import { echoProgram } from './echo-program.ts';

const ADDRESS = IpAddress.parse('2001:db8::7')!;

/** A program in place of ping. */
function stub(script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-ping-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'ping');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

test.each([
  ['an answer', 'test "$*" = "-n -c 1 -W 4 -s 56 2001:db8::7"', 'answered'],
  ['no answer', 'echo "1 packets transmitted, 0 received"; exit 1', 'silent'],
  ['a router that knows no way', 'echo "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable"; exit 1', 'unreachable'],
  ['a network that is not there', 'echo "ping: connect: Network is unreachable" >&2; exit 2', 'unreachable'],
  ['a lack of privileges', 'echo "ping: socktype: SOCK_RAW: Operation not permitted" >&2; exit 2', 'prohibited'],
] as const)('%s is told from the others', async (_, script, outcome) => {
  expect(await echoProgram('linux', stub(script))?.(ADDRESS, 56)).toBe(outcome);
});

test('a host without the program prohibits', async () => {
  expect(await echoProgram('linux', '/nowhere/ping')?.(ADDRESS, 56)).toBe('prohibited');
});

test('a host whose program is not known has no means', () => {
  expect(echoProgram('win32')).toBeUndefined();
});
