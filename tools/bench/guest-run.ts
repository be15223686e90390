/**
 * One run of one engine: starts its process, reads the suite's lines as they come, and looks at how much memory the process holds. Both
 * engines are measured by this one file, from outside, in the same way.
 */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { reportOf, type MachineReport } from './machine-report.ts';
import { Lines, suiteLine } from './suite-output.ts';

/** How an engine's process is started. */
export interface EngineCommand {
  readonly label: string;
  readonly program: string;
  readonly programArguments: readonly string[];
  /** Where it is not this process' own. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface SuiteResult {
  readonly name: string;
  /** By the guest's own clock. */
  readonly seconds: number;
  readonly check: string;
  /** Millions of instructions per second from the program's start to this line; where the engine counts them. */
  readonly mips: number | undefined;
  readonly instructions: number | undefined;
}

export interface GuestRun {
  /** From just before the process was started to the first line of the guest's command. */
  readonly userlandSeconds: number;
  readonly results: readonly SuiteResult[];
  /** VmHWM of the process, as the host's kernel counts it. */
  readonly peakResidentBytes: number;
  readonly statistics: MachineReport['statistics'] | undefined;
}

/** A run that takes longer hangs. Every program of a set takes two minutes on the slowest engine of an idle machine. */
const RUN_TIMEOUT_MS = 900_000;
/** VmHWM only grows, so it need not be read often: what comes after the last reading is the guest's power-off. */
const MEMORY_READING_MS = 50;
/** Output that is kept to show what went wrong. */
const KEPT_LINES = 20;

/** Rejects with a sentence when the guest did not come to the suite's end. */
export function runGuest({ label, program, programArguments, env = process.env }: EngineCommand): Promise<GuestRun> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const child = spawn(program, programArguments, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env, NODE_DISABLE_COMPILE_CACHE: '1' }, // nothing of an earlier run is to help
    });
    const lastLines: string[] = [];
    const results: Omit<SuiteResult, 'mips' | 'instructions'>[] = [];
    let userlandSeconds: number | undefined;
    let hasEnded = false;
    let peakResidentBytes = 0;
    let problem = '';
    let machineReport: MachineReport | undefined;

    const readMemory = (): void => {
      peakResidentBytes = Math.max(peakResidentBytes, child.pid === undefined ? 0 : vmHwmBytes(child.pid));
    };
    const keep = (line: string): void => {
      lastLines.push(line.trimEnd());
      if (lastLines.length > KEPT_LINES) lastLines.shift();
    };
    const fromGuest = new Lines((line) => {
      keep(line);
      const said = suiteLine(line);
      if (said === undefined) return;
      if (said.kind === 'userland') userlandSeconds ??= (performance.now() - startedAt) / 1000;
      else if (said.kind === 'result') results.push({ name: said.name, seconds: said.seconds, check: said.check });
      else if (said.kind === 'end') hasEnded = true;
      readMemory();
    });
    const fromEngine = new Lines((line) => {
      const report = reportOf(line);
      if (report === undefined) keep(line);
      else machineReport = report;
    });
    child.stdout.on('data', (bytes: Buffer) => fromGuest.write(bytes));
    child.stderr.on('data', (bytes: Buffer) => fromEngine.write(bytes));

    const memoryTimer = setInterval(readMemory, MEMORY_READING_MS);
    const timeout = setTimeout(() => {
      problem = `took longer than ${RUN_TIMEOUT_MS / 1000} s`;
      child.kill('SIGKILL');
    }, RUN_TIMEOUT_MS);
    const endWithUs = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithUs);

    child.on('error', (error) => {
      problem = `could not be started: ${error.message}`;
    });
    child.on('close', (code, signal) => {
      clearInterval(memoryTimer);
      clearTimeout(timeout);
      process.off('exit', endWithUs);
      if (problem === '' && code !== 0) problem = `ended with ${signal ?? `exit code ${code}`}`;
      if (problem === '' && (!hasEnded || userlandSeconds === undefined)) problem = 'ended before its programs did';
      if (problem !== '' || userlandSeconds === undefined) {
        reject(new Error([`The run on ${label} ${problem}. Its last lines:`, ...lastLines].join('\n  ')));
        return;
      }
      resolve({
        userlandSeconds,
        results: results.map((result) => ({ ...result, ...speedOf(result.name, machineReport) })),
        peakResidentBytes,
        statistics: machineReport?.statistics,
      });
    });
  });
}

/** 0 when the process is gone. */
function vmHwmBytes(pid: number): number {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** From the line before the result's, which is the program's START or its result before, to the result's. */
function speedOf(name: string, report: MachineReport | undefined): Pick<SuiteResult, 'mips' | 'instructions'> {
  const marks = report?.marks ?? [];
  const at = marks.findIndex(({ line }) => {
    const said = suiteLine(line);
    return said?.kind === 'result' && said.name === name;
  });
  const [before, after] = at < 1 ? [] : marks.slice(at - 1, at + 1);
  if (before === undefined || after === undefined) return { mips: undefined, instructions: undefined };
  const instructions = after.instructions - before.instructions;
  return { instructions, mips: instructions / 1000 / (after.atMs - before.atMs) };
}
