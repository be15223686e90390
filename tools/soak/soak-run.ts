/** One machine that works until its time is over, and what was seen of its memory meanwhile. */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { engineThatRan, ringfenceCommand, type EngineChoice, type Guest } from '../bench/engines.ts';
import type { ProgramStart } from '../bench/heap-start.ts';
import { sampleOf, type MachineSample } from '../bench/machine-sample.ts';
import { Lines } from '../bench/suite-output.ts';
import type { EngineName } from '../bench/targets.ts';
import type { Sample } from './flatness.ts';
import { GuestOutput } from './guest-output.ts';

export interface SoakPlan {
  readonly engine: EngineChoice;
  /** What Node runs to be a machine. */
  readonly machine: ProgramStart;
  readonly guest: Guest;
  readonly minutes: number;
  readonly everySeconds: number;
  readonly onSample: (sample: Sample) => void;
}

export interface Soaked {
  readonly engine: EngineName;
  readonly rounds: number;
}

/** A guest that finishes no round for so long hangs. */
const STALL_MINUTES = 15;
/** Output that is kept to show what went wrong. */
const KEPT_LINES = 20;

/** Rejects with a sentence when the machine ends, its guest complains, computes another thing than before, or hangs. */
export function soak({ engine, machine, guest, minutes, everySeconds, onSample }: SoakPlan): Promise<Soaked> {
  return new Promise((resolve, reject) => {
    const { program, programArguments } = ringfenceCommand(engine, machine, guest);
    const child = spawn(program, [...programArguments, String(everySeconds * 1000)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' },
    });
    const startedAt = performance.now();
    const minutesNow = (): number => (performance.now() - startedAt) / 60_000;
    const output = new GuestOutput();
    const lastLines: string[] = [];
    let lastRoundAt = 0;
    let statistics: MachineSample['statistics'] = {};
    let problem: string | undefined;
    let isOver = false;

    const fail = (sentence: string): void => {
      problem ??= sentence;
      child.kill('SIGKILL');
    };
    const keep = (line: string): void => {
      lastLines.push(line.trimEnd());
      if (lastLines.length > KEPT_LINES) lastLines.shift();
    };
    const fromGuest = new Lines((line) => {
      keep(line);
      const before = output.rounds;
      output.line(line);
      if (output.rounds !== before) lastRoundAt = minutesNow();
      if (output.problem !== undefined) fail(output.problem);
    });
    const fromMachine = new Lines((line) => {
      const sample = sampleOf(line);
      if (sample === undefined) {
        keep(line);
        return;
      }
      ({ statistics } = sample);
      onSample(measured(sample, minutesNow(), output.rounds, child.pid ?? 0));
      if (minutesNow() - lastRoundAt > STALL_MINUTES) fail(`No round was finished for ${STALL_MINUTES} minutes.`);
    });
    child.stdout.on('data', (bytes: Buffer) => fromGuest.write(bytes));
    child.stderr.on('data', (bytes: Buffer) => fromMachine.write(bytes));

    // Half a sample more, so that the last one is there.
    const end = setTimeout(
      () => {
        isOver = true;
        child.kill('SIGKILL');
      },
      minutes * 60_000 + everySeconds * 500,
    );
    const endWithUs = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithUs);
    child.on('error', (error) => {
      problem ??= `The machine could not be started: ${error.message}.`;
    });
    child.on('close', (code, signal) => {
      clearTimeout(end);
      process.off('exit', endWithUs);
      if (!isOver) problem ??= `The machine ended with ${signal ?? `exit code ${code}`} before its time.`;
      if (output.rounds === 0) problem ??= 'The guest finished no round.';
      if (problem !== undefined) {
        reject(new Error([`${problem} The last lines:`, ...lastLines].join('\n  ')));
        return;
      }
      try {
        resolve({ engine: engineThatRan(engine, statistics), rounds: output.rounds });
      } catch (error) {
        reject(error);
      }
    });
  });
}

function measured(
  { statistics, heapUsedBytes, externalBytes }: MachineSample,
  minutes: number,
  rounds: number,
  pid: number,
): Sample {
  return {
    minutes,
    rounds,
    residentBytes: vmRssBytes(readFileSync(`/proc/${pid}/status`, 'utf8')),
    guestBytes: statistics['residentBytes'] ?? 0,
    instructions: statistics['instructions'] ?? 0,
    heapUsedBytes,
    externalBytes,
  };
}

/** From /proc/PID/status, see proc_pid_status(5). An Error when it is not in there. */
export function vmRssBytes(status: string): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  if (kibibytes === undefined) throw new Error('The kernel does not say how much memory the process holds (VmRSS).');
  return Number(kibibytes) * 1024;
}
