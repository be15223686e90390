/** One machine with the serial line on stdout, for a process that is measured (ringfence-machine.ts says with which words). */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { type InterpreterCache, Machine, MachineRunner, type MachineOptions } from '@ringfence/core';
import { ThreadedCompiler } from '@ringfence/host/region-compiler';
import { reportLine, type Mark } from './machine-report.ts';
import { sampleLine } from './machine-sample.ts';
import { Lines, suiteLine } from './suite-output.ts';

/** Runs it to its end. `interpreters` has one that was made before. */
export async function runMachine(words: readonly string[], interpreters?: InterpreterCache): Promise<void> {
  const [engine = '', memoryBytes, kernelPath = '', initrdPath = '', bootArguments = '', sampleEveryMs] = words;

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
    interpreters,
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
  if (sampleEveryMs !== undefined) setInterval(() => writeSample(machine), Number(sampleEveryMs)).unref();
  runner.start();
  const { kind } = await runner.ended;
  process.stderr.write(reportLine({ ending: kind, statistics: machine.statistics(), marks }));
  process.exitCode = kind === 'poweroff' ? 0 : 1;
}

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

function writeSample(machine: Machine): void {
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(
    sampleLine({ statistics: machine.statistics(), heapUsedBytes: heapUsed, externalBytes: external }),
  );
}
