import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { percentile } from './load.ts';
import { readLoads } from './read-load.ts';

const recorded = (name: string): string => readFileSync(new URL(`testing/${name}`, import.meta.url), 'utf8');
const HEAD = 'Linux 6.12 (web) \t11/26/26 \t_x86_64_\t(4 CPU)\n\n';
const CPU = '00:00:01        CPU     %user     %nice   %system   %iowait    %steal     %idle\n';

describe('what sar printed', () => {
  test('gives cores, memory, disk and network by time: what waits for a disk keeps no processor, and the loopback is no network', () => {
    const [web] = readLoads(recorded('web.sar'), 'web.sar');
    expect(web).toMatchObject({ name: 'web', cpus: 4 });
    expect(web?.samples.map(({ cpuCores }) => cpuCores?.toFixed(2))).toEqual(['0.10', '0.40', '0.80', '0.20']);
    expect(web?.samples[2]).toMatchObject({
      atSeconds: 12 * 3600 + 10 * 60 + 1,
      memoryBytes: 1.5 * 2 ** 30,
      diskOperations: 12.5,
      diskBytes: 400 * 512,
      networkBytes: 44 * 1024,
    });
  });

  test('may have a clock of twelve hours, a comma in its numbers, a restart in the middle and midnight too', () => {
    const text =
      `${HEAD}11:50:01 PM        CPU     %user     %nice   %system   %iowait    %steal     %idle\n` +
      '11:55:01 PM        all     40,00      0,00     10,00      0,00      0,00     50,00\n\n' +
      '11:57:00 PM       LINUX RESTART\t(4 CPU)\n\n' +
      '11:58:01 PM        CPU     %user     %nice   %system   %iowait    %steal     %idle\n' +
      '12:05:01 AM        all      0.00      0.00     25.00      0.00      0.00     75.00\n';
    const samples = readLoads(text, 'x')[0]?.samples;
    expect(samples).toEqual([
      { atSeconds: 23 * 3600 + 55 * 60 + 1, cpuCores: 2 },
      { atSeconds: 24 * 3600 + 5 * 60 + 1, cpuCores: 1 },
    ]);
  });

  test.each([
    ['a line without a time', `${HEAD}${CPU}never      all   1 1 1 1 1 1\n`, 'line 4 of x does not begin with a time'],
    ['a value that is none', `${HEAD}${CPU}00:10:01   all   1 1 1 1 1 -5\n`, 'line 4 of x has "-5" for %idle'],
    ['rows without heads', `${HEAD}00:10:01   all   1 1 1 1 1 1\n`, 'line 3 of x comes before any line of heads'],
    ['no samples', HEAD, 'x holds no samples'],
    ['something else', 'hello world\n', 'x is neither the output of sar'],
    ['nothing', '', 'x is neither the output of sar'],
  ])('is refused with its line: %s', (_what, text, sentence) => {
    expect(() => readLoads(text, 'x')).toThrow(sentence);
  });
});

describe('what sadf printed', () => {
  const CPU_OF_TWO =
    '# hostname;interval;timestamp;CPU;%user;%nice;%system;%iowait;%steal;%idle\n' +
    'a;600;2026-11-25 23:50:01 UTC;-1;50.00;0.00;0.00;0.00;0.00;50.00\n' +
    'a;600;2026-11-25 23:50:01 UTC;0;50.00;0.00;0.00;0.00;0.00;50.00\n' +
    'a;600;2026-11-25 23:50:01 UTC;1;50.00;0.00;0.00;0.00;0.00;50.00\n' +
    'a;600;2026-11-26 00:00:01 UTC;-1;25.00;0.00;0.00;0.00;0.00;75.00\n' +
    'b;-1;2026-11-26 00:00:01 UTC;LINUX-RESTART\n';

  test('gives each machine by its name, and counts its processors where each has a line', () => {
    expect(readLoads(CPU_OF_TWO, 'x')).toEqual([
      {
        name: 'a',
        cpus: 2,
        samples: [
          { atSeconds: 85_801, cpuCores: 1 },
          { atSeconds: 86_401, cpuCores: 0.5 },
        ],
      },
    ]);
  });

  test('has to be told how many processors there are where it does not say', () => {
    const text = CPU_OF_TWO.split('\n')
      .filter((line) => !/;[01];/.test(line))
      .join('\n');
    expect(() => readLoads(text, 'x')).toThrow('x does not say how many processors "a" has; say it with --cpus a=N');
    expect(readLoads(text, 'x', (name) => (name === 'a' ? 8 : undefined))[0]?.samples[0]?.cpuCores).toBe(4);
  });

  test.each([
    [
      'too few values',
      'a;600;2026-11-26 00:00:01 UTC;-1;25.00',
      'line 2 of x has 2 values, and 7 heads stand above it',
    ],
    ['a time that is none', 'a;600;yesterday;-1;1;1;1;1;1;1', 'line 2 of x has "yesterday" for a time'],
  ])('is refused with its line: %s', (_what, line, sentence) => {
    expect(() => readLoads(`${CPU_OF_TWO.split('\n')[0] ?? ''}\n${line}\n`, 'x')).toThrow(sentence);
  });
});

describe('a table of comma-separated values', () => {
  test('has the columns that it has, by name, of one machine or several', () => {
    expect(readLoads(recorded('batch.csv'), 'batch.csv')[0]?.samples[0]).toEqual({
      atSeconds: 7800,
      cpuCores: 1.8,
      memoryBytes: 2 ** 29,
    });
    const two = readLoads('time,name,network_bytes,cpu_cores\n60,a,5,\n60,b,6,1\n120,a,7,2\n', 'x');
    expect(two.map(({ name, samples }) => [name, samples.length])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
    expect(two[0]?.samples[0]).toEqual({ atSeconds: 60, networkBytes: 5 });
  });

  test.each([
    [
      'heads that say nothing',
      'time,colour\n1,2\n',
      'line 1 of x has to have the head time and one or more of cpu_cores',
    ],
    ['a value too many', 'time,cpu_cores\n1,2,3\n', 'line 2 of x has 3 values, and there are 2 heads'],
    ['a time that is none', 'time,cpu_cores\nsoon,2\n', 'line 2 of x has "soon" for a time'],
    ['a value that is none', 'time,cpu_cores\n1,many\n', 'line 2 of x has "many" for cpu_cores'],
  ])('is refused with its line: %s', (_what, text, sentence) => {
    expect(() => readLoads(text, 'x')).toThrow(sentence);
  });
});

test('a percentile is the value that so many do not exceed', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect([0, 0.5, 0.95, 1].map((share) => percentile(values, share))).toEqual([1, 50, 95, 100]);
  expect(percentile([], 0.5)).toBeUndefined();
});
