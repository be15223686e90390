/** The files of ours that go into the image `debian`: scripts, units and settings as they lie in ../system, and the guest agent. */

import { hash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import type { CpioEntry } from '../archive/cpio.ts';
import { OLDEST_AGENT, readAgent } from './guest-agent.ts';
import { BASE_PACKAGES, BOOT_MODULES, DISK_BYTES, MODULE_CHOICE } from '../system/base.ts';

/** Counts up when an image made before would no longer do, and nothing below shows it. */
const REVISION = 1;

const FOLDER = fileURLToPath(new URL('../system/', import.meta.url));
const AGENT_IN_GUEST = 'usr/lib/ringfence/ringfence-agent';

export interface SystemFiles {
  /** /init of the machine that makes the image, and of the image. */
  readonly stage: string;
  readonly boot: string;
  /** What is done in the new root when everything is configured. */
  readonly finish: string;
  /** For the new root, before anything else is there; folders before what is in them. */
  readonly root: readonly CpioEntry[];
  /** Changes when an image of the same packages would come out otherwise. */
  readonly recipe: string;
}

export async function readSystemFiles(): Promise<SystemFiles> {
  const text = (name: string): Promise<string> => readFile(join(FOLDER, name), 'utf8');
  const [stage, boot, finish] = await Promise.all([text('stage.sh'), text('boot.sh'), text('finish.sh')]);
  const root: CpioEntry[] = [];
  const sums: string[] = [];
  const add = (name: string, mode: number, content: Uint8Array, sum = hash('sha256', content)): void => {
    root.push({ kind: 'file', names: [name], mode, content });
    sums.push(`${name} ${mode} ${sum}`);
  };
  const walk = async (name: string): Promise<void> => {
    const entries = await readdir(join(FOLDER, 'root', name), { withFileTypes: true });
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const below = name === '' ? entry.name : `${name}/${entry.name}`;
      if (entry.isDirectory()) {
        root.push({ kind: 'folder', name: below, mode: 0o755 });
        await walk(below);
      } else {
        const path = join(FOLDER, 'root', below);
        const isProgram = ((await stat(path)).mode & 0o100) !== 0;
        add(below, isProgram ? 0o755 : 0o644, await readFile(path));
      }
    }
  };
  await walk('');
  add(AGENT_IN_GUEST, 0o755, await readAgent(), OLDEST_AGENT);
  const recipe = hash(
    'sha256',
    JSON.stringify([REVISION, stage, boot, finish, sums, BASE_PACKAGES, BOOT_MODULES, DISK_BYTES, MODULE_CHOICE]),
  ).slice(0, 16);
  return { stage, boot, finish, root, recipe };
}
