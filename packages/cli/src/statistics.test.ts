import { expect, test } from 'vitest';
import { statisticsReport, statisticsText, type RunStatistics } from './statistics.ts';

const interpreted: RunStatistics = {
  seconds: 1.5,
  processorSeconds: 2.25,
  peakResidentBytes: 300 * 1024 ** 2,
  counters: {
    instructions: 384_824_320,
    tlbMisses: 272_466,
    fetchMisses: 95_172,
    slowSteps: 706_371,
    traps: 3521,
    interrupts: 315,
    mmioAccesses: 1297,
    residentBytes: 91.4 * 1024 ** 2,
    codePages: 888,
  },
};

test('the report sorts what a machine counted into groups', () => {
  expect(statisticsText(interpreted)).toMatchInlineSnapshot(`
    "time
      of the machine                1.50 s
      of the processor              2.25 s
      instructions per second      256.5 M
      peak resident memory         300 MiB
    instructions
      all                      384,824,320
    exits
      traps                          3,521
      interrupts                       315
      MMIO accesses                  1,297
      slow steps                   706,371
    address translation
      TLB misses                   272,466
      fetch misses                  95,172
    memory
      resident                    91.4 MiB
      code pages                       888
    "
  `);
});

test('names with dots bring their groups along, tiers share the instructions, causes come by their frequency', () => {
  const counters = {
    instructions: 1000,
    'jit.instructions': 900,
    'jit.regions': 12,
    'jit.codeBytes': 3 * 1024 ** 2,
    'jit.compileMs': 40.25,
    'jit.exits.interrupt': 1,
    'jit.exits.tlbMiss': 3,
    newThing: 7,
  };
  expect(statisticsText({ ...interpreted, counters })).toMatchInlineSnapshot(`
    "time
      of the machine            1.50 s
      of the processor          2.25 s
      instructions per second    0.0 M
      peak resident memory     300 MiB
    instructions
      all                        1,000
      interpreter                  100   10.0 %
      jit                          900   90.0 %
    other
      new thing                      7
    jit
      regions                       12
      code                       3 MiB
      compile                  40.3 ms
    jit exits
      TLB miss                       3   75.0 %
      interrupt                      1   25.0 %
    "
  `);
});

test('nothing counted is no division by nothing', () => {
  const text = statisticsText({
    ...interpreted,
    seconds: 0,
    counters: { instructions: 0, 'jit.instructions': 0, 'jit.exits.a': 0 },
  });
  expect(text).not.toMatch(/NaN|Infinity/);
});

const machine = { statistics: () => interpreted.counters };

test('the JSON form is one line with every counter as the machine names it', () => {
  const report = statisticsReport(machine, 1500, { stats: true, json: true });
  expect(report).toMatch(/^\{.*\}\n$/);
  expect(JSON.parse(report)).toEqual({
    seconds: 1.5,
    processorSeconds: expect.any(Number),
    peakResidentBytes: expect.any(Number),
    counters: interpreted.counters,
  });
});

test('nobody who did not ask gets a report', () => {
  expect(statisticsReport(machine, 1500, {})).toBe('');
  expect(statisticsReport(machine, 1500, { stats: true })).toContain('of the machine');
});
