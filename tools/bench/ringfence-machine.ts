/**
 * The process that is measured on our side: one machine, as a program of one's own would start it, with the serial line on stdout.
 *
 *     node ringfence-machine.ts ENGINE MEMORY_BYTES KERNEL INITRD COMMAND_LINE [SAMPLE_EVERY_MS]
 *
 * ENGINE `default` is what a machine takes when nobody asks. When the machine is off it writes what it counted to stderr, as one line that
 * says so (machine-report.ts); with SAMPLE_EVERY_MS a line each time while it runs (machine-sample.ts), and no marks in the report.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Machine, MachineRunner, type MachineOptions } from '@ringfence/core';
import { ThreadedCompiler } from '@ringfence/host/region-compiler';
import { reportLine, type Mark } from './machine-report.ts';
import { sampleLine } from './machine-sample.ts';
import { Lines, suiteLine } from './suite-output.ts';

const [engine = '', memoryBytes, kernelPath = '', initrdPath = '', bootArguments = '', sampleEveryMs] =
  process.argv.slice(2);

const marks: Mark[] = [];
const lines = new Lines((line) => {
  if (sampleEveryMs !== undefined || suiteLine(line) === undefined) return;
  marks.push({
    line: line.trimEnd(),
    instructions: machine.statistics()['instructions'] ?? 0,
    atMs: performance.now(),
  });
});
const machine = await Machine.create({
  ...engineOption(engine),
  compiler: new ThreadedCompiler(),
  // As the command does: the kernel's file is not kept beside the kernel.
  discardPayloads: true,
  memoryBytes: Number(memoryBytes),
  clock: {
    monotonicNs: () => Math.floor(performance.now() * 1e6),
    wallNs: () => BigInt(Date.now()) * 1_000_000n,
  },
  entropy: { fill: (bytes) => bytes.set(randomBytes(bytes.length)) },
  serialOutput: {
    write: (bytes) => {
      process.stdout.write(bytes);
      lines.write(bytes);
    },
  },
  firmware: 'own',
  kernel: { kind: 'kernel', name: kernelPath, bytes: readFileSync(kernelPath) },
  initrd: { kind: 'initrd', name: initrdPath, bytes: readFileSync(initrdPath) },
  bootArguments,
});
const runner = new MachineRunner(machine, {
  soon: (callback) => void setImmediate(callback),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
});
if (sampleEveryMs !== undefined) setInterval(writeSample, Number(sampleEveryMs)).unref();
runner.start();
const { kind } = await runner.ended;
process.stderr.write(reportLine({ ending: kind, statistics: machine.statistics(), marks }));
process.exitCode = kind === 'poweroff' ? 0 : 1;

function engineOption(name: string): Pick<MachineOptions, 'engine'> {
  switch (name) {
    case 'default':
      return {};
    case 'interpreter':
    case 'jit':
      return { engine: name };
    default:
      throw new Error(`There is no engine called ${name}`);
  }
}

function writeSample(): void {
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(
    sampleLine({ statistics: machine.statistics(), heapUsedBytes: heapUsed, externalBytes: external }),
  );
}
