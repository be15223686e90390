/**
 * Every check of the repository, two at a time: `npm run ok`, or some of them by name: `npm run ok types lint`, or all but some: `npm run ok -- --but unit`. A check is the npm
 * script of that name in package.json. One line per check; the output of a check only when it failed.
 */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** In the order they start: the longest first. */
const CHECKS = ['unit', 'lint', 'types', 'layers', 'unused', 'lockfile', 'format:check'];
/** Checks that run at the same time. */
const AT_ONCE = 2;

interface Outcome {
  readonly passed: boolean;
  readonly seconds: number;
  readonly output: string;
}

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Readonly<Record<string, string>> };
const words = process.argv.slice(2);
const isBut = words[0] === '--but';
const named = isBut ? words.slice(1) : words;
const unknown = named.filter((name) => !CHECKS.includes(name));
if (unknown.length > 0) {
  console.error(`There is no check called ${unknown.join(' or ')}. The checks are: ${CHECKS.join(', ')}.`);
  process.exit(2);
}

const waiting = CHECKS.filter((name) => named.length === 0 || named.includes(name) !== isBut);
const total = waiting.length;
const failed: string[] = [];
await Promise.all(Array.from({ length: AT_ONCE }, runUntilDone));
console.log(`${total - failed.length} checks passed, ${failed.length} failed`);
if (failed.length > 0) process.exitCode = 1;

async function runUntilDone(): Promise<void> {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const { passed, seconds, output } = await runCheck(scripts[name] ?? '');
    console.log(`${passed ? 'ok    ' : 'FAILED'} ${name.padEnd(14)} ${seconds.toFixed(1).padStart(6)} s`);
    if (passed) continue;
    failed.push(name);
    console.log(`${output.trimEnd()}\n      alone: npm run ${name}\n`);
  }
}

function runCheck(command: string): Promise<Outcome> {
  const started = performance.now();
  const color = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(command, {
    shell: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...color },
  });
  const chunks: Buffer[] = [];
  const keep = (chunk: Buffer): number => chunks.push(chunk);
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const seconds = (performance.now() - started) / 1000;
      resolve({ passed: code === 0, seconds, output: Buffer.concat(chunks).toString() });
    });
  });
}
