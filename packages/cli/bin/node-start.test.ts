import { describe, expect, test } from 'vitest';
import { spawnSync } from 'node:child_process';
import { nodeEnvironment, nodeStart } from './node-start.js';

const SEMI_SPACE = '--max-semi-space-size=2';
const MALLOC = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '2097152',
  MALLOC_TOP_PAD_: '1048576',
  MALLOC_MMAP_THRESHOLD_: '16777216',
};
const HUGE_PAGES = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' };
const OLD_SPACE = '--max-old-space-size=10240';
const WASM = ['--wasm-tiering-budget=2000000', '--no-wasm-loop-peeling', '--no-wasm-loop-unrolling'];

describe('how Node is started', () => {
  test('malloc gives back what was freed and asks for huge pages, and the young generation stays small', () => {
    expect(nodeStart({ PATH: '/bin' }, [])).toEqual({
      flags: [SEMI_SPACE, OLD_SPACE, ...WASM],
      env: { PATH: '/bin', ...MALLOC, ...HUGE_PAGES },
    });
  });

  test("a variable of the user's stays as it is", () => {
    const { env } = nodeStart({ MALLOC_TRIM_THRESHOLD_: '1', MALLOC_ARENA_MAX: '2' }, []);
    expect(env).toEqual({ ...MALLOC, MALLOC_TRIM_THRESHOLD_: '1', MALLOC_ARENA_MAX: '2', ...HUGE_PAGES });
  });

  test('a shell is told the same, and leaves what the user has set', () => {
    const script = `${nodeEnvironment('be_set')}be_set; exec env`;
    const said = spawnSync('sh', ['-c', script], {
      encoding: 'utf8',
      env: { PATH: '/bin:/usr/bin', MALLOC_ARENA_MAX: '2', GLIBC_TUNABLES: '' },
    });
    const expected = Object.entries({ ...MALLOC, MALLOC_ARENA_MAX: '2', ...HUGE_PAGES }).map((pair) => pair.join('='));
    expect(said.stdout.split('\n')).toEqual(expect.arrayContaining(expected));
  });

  test('who tunes malloc through GLIBC_TUNABLES tunes all of it', () => {
    const env = { GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX2:glibc.malloc.arena_max=1' };
    expect(nodeStart(env, []).env).toEqual(env);
  });

  test('what else is tuned through GLIBC_TUNABLES stays, and a Node within ours is started alike', () => {
    const { env } = nodeStart({ GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX2' }, []);
    expect(env).toHaveProperty('MALLOC_TRIM_THRESHOLD_');
    expect(env['GLIBC_TUNABLES']).toBe('glibc.cpu.hwcaps=-AVX2:glibc.malloc.hugetlb=1');
    expect(nodeStart(env, []).env).toEqual(env);
  });

  test.each(['--max-semi-space-size=64', '--max_semi_space_size=64'])('%s of the user counts', (flag) => {
    expect(nodeStart({}, [flag]).flags).toEqual([OLD_SPACE, ...WASM, flag]);
    expect(nodeStart({ NODE_OPTIONS: `--no-warnings ${flag}` }, []).flags).toEqual([OLD_SPACE, ...WASM]);
  });

  test('other options of the user come with ours', () => {
    expect(nodeStart({ NODE_OPTIONS: '--no-warnings' }, ['--cpu-prof']).flags).toEqual([
      SEMI_SPACE,
      OLD_SPACE,
      ...WASM,
      '--cpu-prof',
    ]);
  });
});
