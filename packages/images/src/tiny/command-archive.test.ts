import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cpioMembers } from '../archive/cpio.ts';
import { ImageError } from '../image-error.ts';
import { commandArchive, type GuestCommand } from './command-archive.ts';

function script(command: GuestCommand): Uint8Array {
  return (
    cpioMembers(commandArchive(command)).find(({ name }) => name === 'ringfence/command')?.content ?? new Uint8Array(0)
  );
}

/** The words a POSIX shell makes of the script, as bytes. */
function wordsInShell(command: GuestCommand): Buffer[] {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-command-'));
  try {
    const path = join(folder, 'command');
    writeFileSync(path, script(command));
    const { stdout } = spawnSync('sh', ['-c', `. "$0"; for word in "$@"; do printf '%s\\0' "$word"; done`, path]);
    return stdout.length === 0
      ? []
      : stdout
          .toString('latin1')
          .slice(0, -1)
          .split('\0')
          .map((word) => Buffer.from(word, 'latin1'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the command for the guest', () => {
  test('is a file that sets what /init reads', () => {
    const text = Buffer.from(
      script({ argv: ['echo', "it's"], interactive: false, hostname: 'web-1', env: { TERM: 'xterm' } }),
    ).toString();
    expect(text).toBe("mode=command\nhostname='web-1'\nexport TERM='xterm'\nset -- 'echo' 'it'\\''s'\n");
  });

  test('says what the network card is to have', () => {
    const network = { address: '10.0.2.15', netmask: '255.255.255.0', gateway: '10.0.2.2', nameServer: '10.0.2.3' };
    const text = Buffer.from(script({ argv: ['true'], interactive: false, network })).toString();
    expect(text).toContain("\nnetwork='10.0.2.15 255.255.255.0 10.0.2.2 10.0.2.3'\n");
    expect(() =>
      commandArchive({ argv: ['true'], interactive: false, network: { ...network, gateway: "1.1.1.1'; reboot" } }),
    ).toThrow('is no IPv4 address');
  });

  test('mounts folders of the host first, in their order', () => {
    const shares = [
      { tag: 'one', path: "/it's", readOnly: true },
      { tag: 'two', path: '/b c', readOnly: false },
    ];
    expect(Buffer.from(script({ argv: ['ls'], interactive: false, shares })).toString()).toBe(
      "mode=command\nhostname='tiny'\nshare 0 ro 'one' '/it'\\''s'\nshare 1 rw 'two' '/b c'\nset -- 'ls'\n",
    );
  });

  test('may be empty when a person is there, for a login shell', () => {
    expect(Buffer.from(script({ argv: [], interactive: true })).toString()).toBe(
      "mode=interactive\nhostname='tiny'\nset --\n",
    );
    expect(() => commandArchive({ argv: [], interactive: false })).toThrow('There is no command to run.');
  });

  test('may be none, and the agent waits for some', () => {
    expect(Buffer.from(script({ argv: [], interactive: false, agent: true })).toString()).toBe(
      "mode=agent\nhostname='tiny'\nset --\n",
    );
    expect(() => commandArchive({ argv: ['ls'], interactive: false, agent: true })).toThrow(
      'runs no command by itself',
    );
  });

  test('comes out of a shell byte for byte', () => {
    const octets = Uint8Array.from({ length: 255 }, (_, at) => at + 1);
    expect(
      wordsInShell({ argv: ['a b', '', octets, '$(exit 9)', '\\', "'"], interactive: false }).map((word) =>
        word.toString('latin1'),
      ),
    ).toEqual(['a b', '', Buffer.from(octets).toString('latin1'), '$(exit 9)', '\\', "'"]);
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ min: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 }), (argv) => {
        expect(wordsInShell({ argv, interactive: false }).map((word) => word.toString('hex'))).toEqual(
          argv.map((word) => Buffer.from(word).toString('hex')),
        );
      }),
      { numRuns: 25 },
    );
  });

  test('cannot hold what no program can be given', () => {
    const refused = (command: Partial<GuestCommand>): void => {
      expect(() => commandArchive({ argv: ['x'], interactive: false, ...command })).toThrow(ImageError);
    };
    refused({ argv: ['a\0b'] });
    refused({ argv: ['x'.repeat(200_000)] });
    refused({ argv: Array.from({ length: 3000 }, () => 'x'.repeat(1000)) });
    refused({ hostname: "a'; reboot; '" });
    refused({ hostname: '-a' });
    refused({ env: { 'A B': '1' } });
    refused({ env: { A: '\0' } });
  });
});
