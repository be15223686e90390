import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8Text } from '../archive/octets.ts';
import { readUserData } from './user-data.ts';

const config = (text: string): ReturnType<typeof readUserData> => readUserData(`#cloud-config\n${text}`);

/** What programs a script calls with which words, when each of them only writes that down. */
function calls(script: string | undefined): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-user-data-'));
  try {
    const log = join(folder, 'log');
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    for (const name of [
      'useradd',
      'usermod',
      'groupadd',
      'chpasswd',
      'getent',
      'apt-get',
      'sh',
      'mkdir',
      'cat',
      'chmod',
    ]) {
      const lines = [
        '#!/bin/sh',
        `{ printf %s ${name}; for word in "$@"; do printf ' <%s>' "$word"; done; printf '\\n'; } >>${log}`,
        ...(name === 'chpasswd' ? [`while read -r line; do printf '  %s\\n' "$line"; done >>${log}`] : []),
        ...(name === 'getent' ? ['exit 2'] : []),
      ];
      writeFileSync(join(bin, name), `${lines.join('\n')}\n`, { mode: 0o755 });
    }
    writeFileSync(join(bin, 'id'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    spawnSync('/bin/sh', ['-c', script ?? 'exit'], { env: { PATH: bin }, cwd: folder });
    return readFileSync(log, 'utf8').trimEnd().split('\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('user data', () => {
  test('makes users with their groups, shells, passwords and nothing that a shell could take for its own', () => {
    const { early } = config(`
users:
  - name: ann
    gecos: "Ann O'Neil; $(reboot)"
    groups: [adm, video]
    shell: /bin/sh
    lock_passwd: false
    passwd: $6$salt$hash
`);
    const lines = calls(early);
    expect(lines).toContain(
      `useradd <--create-home> <--shell> </bin/sh> <--comment> <Ann O'Neil; $(reboot)> <--user-group> <ann>`,
    );
    expect(lines).toContain('usermod <-aG> <adm,video> <ann>');
    expect(lines.join('\n')).toContain('chpasswd <--encrypted>\n  ann:$6$salt$hash');
  });

  test('gives keys to the first user, and to the default one when there is no other', () => {
    const key = `ssh-ed25519 ${'A'.repeat(68)} me@here`;
    expect(config(`ssh_authorized_keys: ['${key}']`).early).toContain("useradd --create-home --shell '/bin/bash'");
    expect(config(`ssh_authorized_keys: ['${key}']\nusers: [{name: bob}]`).early).toContain(`'${key}'`);
    expect(() => config(`ssh_authorized_keys: ["${key}\\nssh-rsa AAAA"]`)).toThrow('is no SSH key');
  });

  test('writes files as they are, as text or base64, whatever their names', () => {
    const { early, files } = config(`
write_files:
  - path: /etc/it's here
    content: "a\\n$(b)"
    permissions: '0600'
  - path: /etc/packed
    encoding: b64
    content: aGVs bG8=
    permissions: 0o755
    append: true
`);
    expect(calls(early)).toContain("chmod <0600> </etc/it's here>");
    expect(early).toContain(">>'/etc/packed'");
    expect(early).toContain('chmod 0755');
    expect(early?.match(/\(umask 077 && cat /g)).toHaveLength(2);
    expect([...files.values()].map(utf8Text)).toEqual(['a\n$(b)', 'hello']);
  });

  test('installs packages and then runs commands, as lines of one script or as words', () => {
    const { final, files } = config(`
packages: [nginx, libc6:riscv64]
runcmd:
  - cd /tmp && echo $HOME
  - [touch, "two words", 3]
`);
    expect(calls(final)).toEqual([
      'apt-get <-q> <update>',
      'apt-get <-q> <-y> <install> <nginx> <libc6:riscv64>',
      'sh </run/ringfence/user-data/files/runcmd>',
    ]);
    expect(utf8Text(files.get('runcmd') ?? new Uint8Array(0))).toBe("cd /tmp && echo $HOME\n'touch' 'two words' '3'\n");
  });

  test("does things in cloud-init's order: bootcmd before everything, files that wait after packages and before runcmd", () => {
    const { early, final } = config(`
runcmd: [ls]
write_files:
  - {path: /etc/nginx/site, defer: true}
  - {path: /etc/now}
packages: [nginx]
bootcmd: [ls]
users: [{name: ann}]
`);
    const order = (steps: string | undefined, ...parts: readonly string[]): readonly number[] =>
      parts.map((part) => (steps ?? '').indexOf(part));
    for (const places of [
      order(early, 'files/bootcmd', 'useradd', '/etc/now'),
      order(final, 'install', '/etc/nginx/site', 'files/runcmd'),
    ]) {
      expect(places).not.toContain(-1);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
  });

  test('goes on after a step that failed, and fails in the end', () => {
    const { early } = config('timezone: Europe/Berlin\nwrite_files: [{path: /nowhere}]');
    const steps = `ln() { return 1; }; mkdir() { echo went on; return 1; }; ${early}`;
    const { stdout, status } = spawnSync('/bin/sh', ['-c', steps], { encoding: 'utf8' });
    expect([stdout, status]).toEqual(['went on\n', 1]);
  });

  test('may be a script', () => {
    const { final, files, early } = readUserData('#!/bin/bash\necho hello\n');
    expect(early).toBeUndefined();
    expect(final).toContain('files/script');
    expect(utf8Text(files.get('script') ?? new Uint8Array(0))).toBe('#!/bin/bash\necho hello\n');
  });

  test('names the host, and tells what it does not know', () => {
    expect(config('fqdn: web.example.org\nntp: {enabled: true}')).toMatchObject({
      hostname: 'web',
      early: undefined,
      final: undefined,
      notes: ['user data: "ntp" is not supported and does nothing'],
    });
  });

  test.each([
    ['hostname: [a]', '"hostname" of it is no text'],
    ['users: [{name: "a b"}]', '"a b" is no name for a user or a group'],
    ['users: [{name: ann, shoe_size: 3}]', 'user 1 has a "shoe_size", which is not supported'],
    ['users: [{}]', 'user 1 has no "name"'],
    ['write_files: [{path: etc/x}]', '"etc/x" of write_files is no absolute path'],
    ['write_files: [{path: /x, encoding: gz+b64, content: x}]', 'the encoding "gz+b64" of "/x" is not supported'],
    ['write_files: [{path: /x, encoding: b64, content: "?"}]', 'the content of "/x" is no base64'],
    ['write_files: [{path: /x, permissions: rwx}]', 'the permissions "rwx" of "/x" are not like "0644"'],
    ['packages: ["a; reboot"]', '"a; reboot" is no name of a package'],
    ['runcmd: [{a: b}]', 'runcmd has a command that is neither text nor a list of words'],
    ['- a', 'it is no mapping'],
    ['a: [', 'The user data is no YAML'],
  ])('%s is refused', (text, sentence) => {
    expect(() => config(text)).toThrow(sentence);
  });

  test('has to say what it is', () => {
    expect(() => readUserData('hostname: a')).toThrow('does not begin with "#cloud-config" or "#!"');
  });
});
