/**
 * Real software in the image `debian`, each one test: `npm run guests [NAME ...]`. Outside of CI: the images take minutes to make, once, and
 * some programs minutes to run. Says which passed, and ends with 1 when one did not.
 */

import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { GUESTS, type Guest } from './guests.ts';
import { pullImage } from './pull.ts';

const USAGE = `usage: npm run guests [-- [--suite NAME] [--list] NAME ...]`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { suite: { type: 'string' }, list: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const unknown = positionals.find((name) => !GUESTS.some((guest) => guest.name === name));
  if (unknown !== undefined) {
    console.error(`there is no guest "${unknown}", only ${GUESTS.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  const chosen = GUESTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  if (values.list === true) {
    for (const { name, summary } of chosen) console.log(`${name.padEnd(12)}${summary}`);
    return 0;
  }
  const [only, ...others] = chosen;
  if (only !== undefined && others.length === 0) return (await passes(only, values.suite)) ? 0 : 1;
  // A process for each: the memory of a machine goes with it.
  const options = values.suite === undefined ? [] : ['--suite', values.suite];
  const program = fileURLToPath(import.meta.url);
  let failed = 0;
  for (const { name } of chosen) {
    const { status } = spawnSync(process.execPath, [program, ...options, name], { stdio: 'inherit' });
    if (status !== 0) failed++;
  }
  console.log(`${chosen.length - failed} of ${chosen.length} passed`);
  return failed === 0 ? 0 : 1;
}

async function passes(guest: Guest, suite: string | undefined): Promise<boolean> {
  const { name, summary, packages } = guest;
  console.log(`${name}: ${summary}`);
  try {
    await pullImage(packages, suite);
    const startedAt = performance.now();
    const said = await guest.run({ packages: [...packages], ...(suite === undefined ? {} : { suite }) });
    console.log(`  passed after ${((performance.now() - startedAt) / 1000).toFixed(1)} s: ${said}`);
    return true;
  } catch (error) {
    console.log(`  FAILED: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

process.exitCode = await main();
