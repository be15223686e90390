/**
 * The modules of an image: those that were asked for and, transitively, those they depend on. The files of a kernel package come as a
 * stream, and what a module depends on is known only when it has been seen; so the set says after each pass what is still missing.
 */

import { moduleName, parseModuleInfo, type ModuleInfo } from './module-info.ts';

export interface KernelModule {
  readonly name: string;
  /** Below lib/modules/VERSION, without the ending of a compression: "kernel/fs/ext4/ext4.ko". */
  readonly path: string;
  readonly content: Uint8Array;
  readonly info: ModuleInfo;
}

export class ModuleSet {
  readonly #wanted: Set<string>;
  readonly #modules = new Map<string, KernelModule>();

  /** Names that the kernel does not have as modules are no mistake: another version may have built them in, or dropped them. */
  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted.map(moduleName));
  }

  /** Whether the module at `path` is wanted and not here yet. */
  wants(path: string): boolean {
    const name = nameOf(path);
    return this.#wanted.has(name) && !this.#modules.has(name);
  }

  add(path: string, content: Uint8Array): void {
    const name = nameOf(path);
    this.#modules.set(name, { name, path, content, info: parseModuleInfo(content, path) });
  }

  /** Names that are depended on and not here; they are wanted from now on. */
  missing(): string[] {
    const names = [...this.#modules.values()]
      .flatMap(({ info }) => info.depends)
      .filter((name) => !this.#modules.has(name));
    for (const name of names) this.#wanted.add(name);
    return [...new Set(names)];
  }

  /** In the order of their paths. */
  modules(): KernelModule[] {
    return [...this.#modules.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }
}

function nameOf(path: string): string {
  return moduleName(/([^/]+)\.ko$/.exec(path)?.[1] ?? path);
}
