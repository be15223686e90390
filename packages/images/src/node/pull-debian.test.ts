/** Making the image debian, with a stand-in for the machine that installs packages. The real one: `npm run guests`. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cpioMembers } from '../archive/cpio.ts';
import type { ImageError } from '../image-error.ts';
import { listImages, loadDebian, pullDebian, removeImage } from '../index.ts';
import { BASE_PACKAGES } from '../system/base.ts';
import {
  makeArchive,
  makeSigningKey,
  tinyPackages,
  type SigningKey,
  type TestPackage,
} from '../testing/debian-archive.ts';
import { serveArchive, type HttpMirror } from '../testing/http-mirror.ts';
import type { BuildEnd, BuildJob, BuildMachine } from './build-machine.ts';
import type { DebianOptions } from './debian-image.ts';

let key: SigningKey;
let folder: string;
let mirror: HttpMirror;
let jobs: BuildJob[];
/** What the machine found in its folder. */
let plans: string[];

beforeAll(async () => {
  key = await makeSigningKey();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-debian-'));
  writeFileSync(join(folder, 'keyring.gpg'), key.keyring);
  mirror = await serveArchive(await makeArchive({ key, packages: packages() }));
  jobs = [];
  plans = [];
});

afterEach(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

function packages(version = '1'): TestPackage[] {
  const plain = (name: string, more: Partial<TestPackage> = {}): TestPackage => ({
    name,
    version,
    files: [{ name: `./usr/share/${name}`, content: `${name} ${version}` }],
    ...more,
  });
  return [
    ...tinyPackages(),
    ...BASE_PACKAGES.map((name) => plain(name, name === 'e2fsprogs' ? { depends: 'libc6' } : {})),
    plain('dpkg', { depends: 'libc6', fields: ['Essential: yes'] }),
    plain('apt', { fields: ['Priority: required'] }),
    plain('libc6'),
    plain('nginx', { depends: 'libc6, nginx-common' }),
    plain('nginx-common'),
  ];
}

/** Installs nothing, and says what a machine would say. */
const machine: BuildMachine = async (job) => {
  jobs.push(job);
  plans.push(readFileSync(join(job.share.folder, 'plan'), 'utf8'));
  if (job.disk.createBytes === undefined) expect(readFileSync(job.disk.path, 'utf8')).toBe('installed');
  writeFileSync(job.disk.path, 'installed');
  say(job, 'status: \u001b[2J: unpacked\nstatus: libc6:riscv64: unpacked\nstatus: libc6:riscv64: installed\ndone\n');
  return 'poweroff';
};

function say({ ports }: BuildJob, text: string): void {
  for (const octet of Buffer.from(text)) ports[1]?.onData(Uint8Array.of(octet));
}

function options(more: DebianOptions = {}): DebianOptions {
  return {
    mirror: mirror.url,
    keyring: join(folder, 'keyring.gpg'),
    cacheDir: join(folder, 'cache'),
    aptFolder: join(folder, 'apt'),
    env: {},
    timeoutMs: 2000,
    retryPauseMs: 5,
    machine,
    ...more,
  };
}

function debs(): string[] {
  return mirror.requests.filter((path) => path.endsWith('.deb')).map((path) => path.split('/').at(-1) ?? '');
}

async function failure(promise: Promise<unknown>): Promise<ImageError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error: unknown) => error as ImageError,
  );
}

describe('the image debian', { timeout: 60_000 }, () => {
  test('is what the machine made of the packages that every system has and those of the list', async () => {
    const image = await loadDebian(options());
    expect(readFileSync(image.diskPath, 'utf8')).toBe('installed');
    expect(statSync(image.diskPath).mode & 0o222).toBe(0);
    expect(plans[0]).toContain("format=1\nessential='dpkg.deb e2fsprogs.deb libc6.deb'\n");
    expect(plans[0]).toContain('apt.deb');
    expect(plans[0]).not.toContain('nginx');
    expect(image.manifest.packages.map(({ name }) => name)).toContain('systemd');
    const init = cpioMembers(image.initrd).filter(({ name }) => name === 'init');
    expect(init.map(({ content }) => Buffer.from(content).toString())).toEqual([
      expect.stringContaining('switch_root /mnt /sbin/init'),
    ]);
  });

  test('is laid out for the machine as packages that are not compressed and as archives', async () => {
    let listing = '';
    let names: string[] = [];
    await pullDebian(
      options({
        machine: async (job) => {
          const deb = join(job.share.folder, 'debs/dpkg.deb');
          listing = spawnSync('ar', ['tv', deb], { encoding: 'utf8' }).stdout;
          const archive = readFileSync(join(job.share.folder, 'root.cpio'));
          names = cpioMembers(archive).map(({ name, mode }) => `${name} ${mode.toString(8)}`);
          return machine(job);
        },
      }),
    );
    expect(listing).toMatch(/debian-binary\n.*control\.tar\n.*data\.tar\n$/);
    expect(names).toContain('usr/lib/ringfence/ringfence-agent 755');
    expect(names).toContain('etc/dpkg/dpkg.cfg.d/ringfence 644');
  });

  test('is not made again while the suite has the same packages', async () => {
    await pullDebian(options());
    await pullDebian(options());
    await loadDebian(options({ machine: undefined }));
    expect(jobs).toHaveLength(1);
    mirror.files = await makeArchive({ key, packages: packages('2') });
    await pullDebian(options());
    expect(jobs).toHaveLength(2);
  });

  test('is not made of an index older than the one it was made of, with more packages neither', async () => {
    await pullDebian(options());
    mirror.files = await makeArchive({ key, packages: packages('0'), date: new Date('2026-01-01') });
    for (const more of [{}, { packages: ['nginx'] }])
      expect((await failure(pullDebian(options(more)))).message).toContain('index of stable is of 2026-01-01');
    expect(jobs).toHaveLength(1);
  });

  test('with more packages starts from a copy of itself, fetches and installs only these', async () => {
    await loadDebian(options());
    mirror.requests.length = 0;
    const image = await loadDebian(options({ packages: ['nginx'] }));
    expect(debs().toSorted()).toEqual(['nginx-common_1_riscv64.deb', 'nginx_1_riscv64.deb']);
    expect(plans[1]).toContain("format=\nessential=''\npackages='nginx.deb nginx-common.deb'\n");
    expect(jobs[1]?.disk.createBytes).toBeUndefined();
    expect(image.manifest.wanted).toEqual(['nginx']);
    const listed = await listImages({ cacheDir: join(folder, 'cache'), verify: true });
    expect(listed.map(({ name, packages: names, problem }) => [name, names, problem])).toEqual([
      ['debian', [], undefined],
      ['debian', ['nginx'], undefined],
    ]);
  });

  test('with more packages is made along with itself when neither is there', async () => {
    await loadDebian(options({ packages: ['nginx'] }));
    expect(jobs).toHaveLength(2);
    expect(debs().toSorted()).toEqual([...new Set(debs())].toSorted());
  });

  test('shows how far the installation is', async () => {
    const steps: string[] = [];
    await pullDebian(
      options({ onProgress: (step) => step.kind === 'install' && steps.push(`${step.item} ${step.stepsDone}`) }),
    );
    expect(steps).toEqual(['libc6 1', 'libc6 2']);
  });

  test.each<[string, string, BuildEnd, string]>([
    ['says why', 'failed the packages cannot be configured\n', 'poweroff', 'the packages cannot be configured'],
    ['panics', '', 'reboot', 'the kernel of the machine that installs its packages panicked'],
    ['is stuck', '', 'timeout', 'was not done after 60 minutes'],
    ['switches itself off too early', '', 'poweroff', 'switched itself off before it was done'],
  ])('is not there when the machine %s, and the error shows its last words', async (_how, said, end, sentence) => {
    const error = await failure(
      pullDebian(
        options({
          machine: async (job) => {
            job.ports[0]?.onData(Buffer.from('dpkg: error\u001b[2J processing\n'));
            writeFileSync(job.disk.path, 'half');
            say(job, said);
            return end;
          },
        }),
      ),
    );
    expect(error.code).toBe('build');
    expect(error.message).toContain(`The image debian (stable) cannot be made: `);
    expect(error.message).toContain(sentence);
    expect(error.message).toContain('dpkg: error?[2J processing');
    expect(existsSync(join(folder, 'cache/images/debian-stable'))).toBe(false);
  });

  test('leaves nothing behind when its making is cancelled, and what was fetched need not be fetched again', async () => {
    const stop = new AbortController();
    const pull = pullDebian(
      options({
        signal: stop.signal,
        machine: async (job) => {
          writeFileSync(job.disk.path, 'half');
          stop.abort();
          job.signal?.throwIfAborted();
          return 'poweroff';
        },
      }),
    );
    expect((await failure(pull)).code).toBe('aborted');
    expect(readdirSync(join(folder, 'cache/images'))).toEqual([]);
    mirror.requests.length = 0;
    await pullDebian(options());
    expect(debs()).toEqual([]);
  });

  test('is damaged when its disk is shorter than it was made', async () => {
    const { diskPath } = await loadDebian(options());
    rmSync(diskPath);
    writeFileSync(diskPath, 'x');
    expect((await failure(loadDebian(options()))).message).toMatch(/is damaged: disk-.* has 1 bytes instead of 9/);
  });

  test('fetches a package again that is not what was fetched before', async () => {
    await pullDebian(options());
    for (const name of readdirSync(join(folder, 'cache/packages')))
      writeFileSync(join(folder, 'cache/packages', name), 'x');
    mirror.requests.length = 0;
    await removeImage('debian', { cacheDir: join(folder, 'cache') });
    await pullDebian(options());
    expect(debs()).toContain('systemd_1_riscv64.deb');
  });

  test('needs a machine when it is not cached, and names that are some', async () => {
    expect((await failure(loadDebian(options({ machine: undefined })))).message).toContain(
      'Make it with `ringfence image pull debian`.',
    );
    expect((await failure(loadDebian(options({ packages: ['a;b'] })))).message).toBe(
      '"a;b" is no name of a Debian package.',
    );
    expect((await failure(loadDebian(options({ packages: ['unknown'] })))).message).toBe(
      'Suite stable has no package "unknown".',
    );
  });

  test("tells a guest's apt what the host's is set to", async () => {
    const { apt } = await loadDebian(options());
    expect(apt.get('apt/sources.list.d/debian.sources')).toContain(`URIs: ${mirror.url}\nSuites: trixie\n`);
  });

  test("gives a guest's apt the suites beside its own that the mirror has whole", async () => {
    const updates = await makeArchive({ key, suite: 'stable-updates', codename: 'trixie-updates', packages: [] });
    for (const [path, content] of updates) mirror.files.set(path.replace('stable-updates', 'trixie-updates'), content);
    const whole = await loadDebian(options());
    expect(whole.apt.get('apt/sources.list.d/debian.sources')).toContain('Suites: trixie-updates\n');
    for (const path of mirror.files.keys())
      if (path.includes('trixie-updates/main')) mirror.files.set(path, Buffer.from('of another day'));
    await removeImage('debian', { cacheDir: join(folder, 'cache') });
    const partial = await loadDebian(options());
    expect(partial.apt.get('apt/sources.list.d/debian.sources')).not.toContain('updates');
  });

  test('is removed with what was fetched for it', async () => {
    await loadDebian(options({ packages: ['nginx'] }));
    const cache = { cacheDir: join(folder, 'cache') };
    await removeImage('debian', { ...cache, packages: ['nginx'] });
    expect(existsSync(join(folder, 'cache/packages'))).toBe(true);
    await removeImage('debian', cache);
    expect(existsSync(join(folder, 'cache/packages'))).toBe(false);
    expect(await listImages(cache)).toEqual([]);
  });
});
