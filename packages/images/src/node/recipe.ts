/** How the image is made, as far as it is not in the packages: our /init, our agent, and which modules go in. */

import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { WANTED_MODULES } from '../tiny/initramfs.ts';
import { OLDEST_AGENT } from './guest-agent.ts';

/** Counts up when an image made before would no longer do, and nothing below shows it; not when a new one is only faster. */
const REVISION = 2;

const INIT = new URL('../tiny/init.sh', import.meta.url);

/** The script that becomes /init. */
export function readInit(): Promise<string> {
  return readFile(INIT, 'utf8');
}

/** Written in by the build of the start snapshot, which knows whether the files that it is made of have changed. */
const RECIPE = '' as string;

/** A hash that changes when an image of the same packages would come out otherwise. */
export async function recipeOf(): Promise<string> {
  if (RECIPE !== '') return RECIPE;
  return hash('sha256', JSON.stringify([REVISION, await readInit(), OLDEST_AGENT, WANTED_MODULES])).slice(0, 16);
}
