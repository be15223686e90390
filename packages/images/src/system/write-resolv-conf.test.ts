import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('./root/usr/lib/ringfence/write-resolv-conf', import.meta.url));

/** The resolv.conf that the script makes of systemd-networkd's state; it runs in a folder instead of /run. */
function resolvConf(state: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-resolv-'));
  try {
    mkdirSync(join(folder, 'systemd/netif'), { recursive: true });
    mkdirSync(join(folder, 'ringfence'));
    writeFileSync(join(folder, 'systemd/netif/state'), state);
    const script = readFileSync(SCRIPT, 'utf8').replaceAll('/run/', `${folder}/`);
    spawnSync('/bin/sh', ['-c', script], { cwd: folder });
    return readFileSync(join(folder, 'ringfence/resolv.conf'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('all name servers and domains of the leases are taken', () => {
  const state = '# private\nOPER_STATE=routable\nDNS=10.0.2.3 fd00::3\nDOMAINS=example.org example.net\n';
  expect(resolvConf(state)).toBe('nameserver 10.0.2.3\nnameserver fd00::3\nsearch example.org example.net\n');
});

test('nothing that came from the network is run', () => {
  expect(resolvConf('DNS=10.0.2.3\nDOMAINS=a printf . touch>*\nNTP=$(touch ran)\n')).toBe(
    'nameserver 10.0.2.3\nsearch a printf . touch>*\n',
  );
});
