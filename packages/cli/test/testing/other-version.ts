/** Another version of the program: a copy of it in a folder of its own, which differs in nothing but its number. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../../..', import.meta.url));
const NOT_COPIED = new Set(['dist', 'test', 'node_modules']);

export class OtherVersion implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'rf-v-'));
  #isMade = false;

  get launcher(): string {
    if (!this.#isMade) this.#make();
    this.#isMade = true;
    return join(this.#folder, 'packages/cli/bin/ringfence.js');
  }

  #make(): void {
    cpSync(join(REPOSITORY, 'packages'), join(this.#folder, 'packages'), {
      recursive: true,
      filter: (path) => !NOT_COPIED.has(basename(path)),
    });
    cpSync(join(REPOSITORY, 'package.json'), join(this.#folder, 'package.json'));
    const ours = join(this.#folder, 'node_modules/@ringfence');
    mkdirSync(ours, { recursive: true });
    for (const name of readdirSync(join(this.#folder, 'packages')))
      symlinkSync(join(this.#folder, 'packages', name), join(ours, name));
    for (const name of readdirSync(join(REPOSITORY, 'node_modules')))
      if (name !== '@ringfence')
        symlinkSync(join(REPOSITORY, 'node_modules', name), join(this.#folder, 'node_modules', name));
    const about = join(this.#folder, 'packages/cli/package.json');
    const was = JSON.parse(readFileSync(about, 'utf8')) as { version: string };
    writeFileSync(about, JSON.stringify({ ...was, version: `${was.version}-other` }));
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
