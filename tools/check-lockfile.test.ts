import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'ringfence-lockfile-'));
const file = join(folder, 'package-lock.json');
afterAll(() => rmSync(folder, { recursive: true }));

const TOOL = { version: '1.0.0', dev: true, optionalDependencies: { '@tool/binding-linux-arm64-musl': '1.0.0' } };
const BINDING = { version: '1.0.0', cpu: ['arm64'], dev: true, libc: ['musl'], optional: true, os: ['linux'] };

function check(
  packages: Readonly<Record<string, object>>,
  ...options: string[]
): { status: number | null; output: string } {
  writeFileSync(file, JSON.stringify({ name: 'x', lockfileVersion: 3, packages: { '': {}, ...packages } }));
  const script = join(import.meta.dirname, 'check-lockfile.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...options], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

test('a lockfile that lists every platform and no registry passes, workspaces included', () => {
  const workspace = { resolved: 'packages/core', link: true };
  const packages = { 'node_modules/tool': TOOL, 'node_modules/@tool/binding-linux-arm64-musl': BINDING };
  expect(check({ ...packages, 'node_modules/@ringfence/core': workspace }).status).toBe(0);
  expect(check({ ...packages, 'node_modules/a/node_modules/tool': TOOL }).status).toBe(0);
});

test('a registry in it is refused', () => {
  const { status, output } = check({
    'node_modules/a': { version: '1.0.0', resolved: 'https://registry.invalid/a.tgz' },
  });
  expect(status).toBe(1);
  expect(output).toContain('node_modules/a names a registry');
});

test('a platform that is missing is refused, and --fix adds it in the order that npm keeps', () => {
  const { status, output } = check({ 'node_modules/tool': TOOL });
  expect(status).toBe(1);
  expect(output).toContain('node_modules/@tool/binding-linux-arm64-musl is missing; run `npm run lockfile -- --fix`');

  expect(check({ 'node_modules/tool': TOOL }, '--fix').status).toBe(0);
  const { packages } = JSON.parse(readFileSync(file, 'utf8')) as { packages: Readonly<Record<string, object>> };
  expect(Object.entries(packages)).toEqual([
    ['', {}],
    ['node_modules/@tool/binding-linux-arm64-musl', BINDING],
    ['node_modules/tool', TOOL],
  ]);
});
