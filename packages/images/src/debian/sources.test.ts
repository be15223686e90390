import { describe, expect, test } from 'vitest';
import { debianArchives, parseSourcesList, parseSourcesStanzas } from './sources.ts';

const chosen = (list: string): string[] => debianArchives(parseSourcesList(list)).map(({ uri }) => uri);

describe('sources.list', () => {
  test('is read with options and comments', () => {
    const list = `
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] http://m.example/debian trixie main contrib # why
deb-src http://m.example/debian trixie main
deb http://m.example/debian`;
    expect(parseSourcesList(list)).toEqual([
      {
        uri: 'http://m.example/debian',
        suites: ['trixie'],
        components: ['main', 'contrib'],
        signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg',
        checkValidUntil: false,
      },
    ]);
  });

  test('names the Debian archive by its path and suite, past security and third parties', () => {
    expect(
      chosen(`
deb http://m.example/debian-security trixie-security main
deb http://security.m.example/ trixie/updates main
deb https://repo.example/linux/debian trixie stable
deb [signed-by=/etc/apt/keyrings/x.gpg] https://x.example/debian stable main
deb https://pg.example/apt trixie-pgdg main
deb http://m.example/debian/ trixie main non-free-firmware
deb http://m.example/debian/ trixie-updates main`),
    ).toEqual(['http://m.example/debian/', 'http://m.example/debian/']);
  });

  test('prefers what is signed by the keyring of the Debian archive, whatever its path', () => {
    expect(
      chosen(`
deb http://a.example/debian trixie main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.pgp] http://b.example/mirror/42 whatever main`),
    ).toEqual(['http://b.example/mirror/42', 'http://a.example/debian']);
  });

  test('of another distribution has no Debian archive', () => {
    expect(chosen('deb http://archive.example/ubuntu noble main')).toEqual([]);
  });
});

describe('a .sources file', () => {
  test('gives a source for every address', () => {
    const sources = parseSourcesStanzas(`
Types: deb deb-src
URIs: http://a.example/debian
  http://b.example/debian
Suites: trixie trixie-updates
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://c.example/debian
Suites: sid
Components: main

Types: deb-src
URIs: http://d.example/debian
Suites: sid
Components: main
`);
    expect(sources.map(({ uri, checkValidUntil }) => [uri, checkValidUntil])).toEqual([
      ['http://a.example/debian', false],
      ['http://b.example/debian', false],
    ]);
    expect(debianArchives(sources)).toHaveLength(2);
  });

  test('may hold its key, with dots for empty lines', () => {
    const [source] = parseSourcesStanzas(
      'Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n -----END PGP PUBLIC KEY BLOCK-----\n',
    );
    expect(source?.signedBy).toBe('-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ\n-----END PGP PUBLIC KEY BLOCK-----');
  });
});
