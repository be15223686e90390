import { describe, expect, test } from 'vitest';
import { utf8Text } from '../archive/octets.ts';
import { cpioMembers } from '../archive/cpio.ts';
import { debianArchive, type DebianGuest } from './guest-archive.ts';
import { readNoCloud } from './no-cloud.ts';

const NETWORK = { address: '10.0.2.15', netmask: '255.255.255.0', gateway: '10.0.2.2', nameServer: '10.0.2.3' };

function archive(guest: Partial<DebianGuest>): Map<string, string> {
  const bytes = debianArchive({ hostname: 'web', instanceId: 'one', ...guest });
  return new Map(cpioMembers(bytes).map(({ name, content }) => [name, utf8Text(content)]));
}

describe('what a guest of the image debian is told', () => {
  test('is its name and its network', () => {
    const files = archive({ network: NETWORK });
    expect(files.get('ringfence/root/etc/hostname')).toBe('web\n');
    expect(files.get('ringfence/root/etc/hosts')).toContain('127.0.1.1\tweb\n');
    expect(files.get('ringfence/network')).toBe('10.0.2.15 255.255.255.0 10.0.2.2 10.0.2.3\n');
    expect(archive({}).has('ringfence/network')).toBe(false);
  });

  test("is apt's mirror, by the gateway where it is on this computer", () => {
    const settings = new Map([
      ['apt/x', 'URIs: http://localhost:3142/debian\nProxy "http://me:you@127.0.0.1:8080";\n'],
    ]);
    expect(archive({ network: NETWORK, settings }).get('ringfence/root/etc/apt/x')).toBe(
      'URIs: http://10.0.2.2:3142/debian\nProxy "http://me:you@10.0.2.2:8080";\n',
    );
    const other = new Map([['apt/x', 'URIs: http://localhost.example.org/debian\n']]);
    expect(archive({ network: NETWORK, settings: other }).get('ringfence/root/etc/apt/x')).toContain('localhost.');
  });

  test('is its user data, which has the last word on its name and is readable for root alone', () => {
    const data = readNoCloud({ userData: '#cloud-config\nhostname: db\nruncmd: [ls]\n' });
    const files = archive({ data });
    expect(files.get('ringfence/root/etc/hostname')).toBe('db\n');
    expect(files.get('ringfence/user-data/instance-id')).toBe('one\n');
    expect(files.get('ringfence/user-data/files/runcmd')).toBe('ls\n');
    const members = cpioMembers(debianArchive({ hostname: 'a', instanceId: 'one', data }));
    expect(members.filter(({ name, mode }) => name.includes('user-data') && (mode & 0o077) !== 0)).toEqual([]);
  });

  test('keeps what this computer says to a proxy from all but root', () => {
    const settings = new Map([
      ['apt/with', 'Acquire::http::Proxy "http://me:you@proxy.example:8080";\n'],
      ['apt/without', 'Acquire::http::Proxy "http://proxy.example:8080";\n# ann@example.org\n'],
    ]);
    const members = cpioMembers(debianArchive({ hostname: 'a', instanceId: 'one', settings }));
    const modes = members.filter(({ name }) => name.includes('etc/apt/')).map(({ name, mode }) => [name, mode & 0o777]);
    expect(modes).toEqual([
      ['ringfence/root/etc/apt/with', 0o600],
      ['ringfence/root/etc/apt/without', 0o644],
    ]);
  });

  test('is refused when a name or an address is none', () => {
    expect(() => archive({ hostname: 'a b' })).toThrow('"a b" is no name for a host.');
    expect(() => archive({ network: { ...NETWORK, gateway: '$(reboot)' } })).toThrow('is no IPv4 address');
    expect(() => archive({ instanceId: '../x' })).toThrow('"../x" is no name for an instance.');
  });
});
