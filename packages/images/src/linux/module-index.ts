/**
 * What `modprobe` reads in lib/modules/VERSION, as depmod(8) writes it: modules.dep(5) with every dependency of a module, direct or not,
 * those first that have to be loaded last; modules.alias; modules.softdep.
 */

import type { KernelModule } from './module-set.ts';

/** File name and text. */
export function moduleIndex(modules: readonly KernelModule[]): Map<string, string> {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const dependencies = (module: KernelModule, seen: Set<string>): KernelModule[] =>
    module.info.depends.flatMap((name) => {
      const dependency = byName.get(name);
      if (dependency === undefined || seen.has(name)) return [];
      seen.add(name);
      return [dependency, ...dependencies(dependency, seen)];
    });
  const lines = (text: readonly string[]): string => text.map((line) => `${line}\n`).join('');
  return new Map([
    [
      'modules.dep',
      lines(
        modules.map((module) =>
          [`${module.path}:`, ...loadOrder(dependencies(module, new Set([module.name]))).map(({ path }) => path)].join(
            ' ',
          ),
        ),
      ),
    ],
    [
      'modules.alias',
      lines(modules.flatMap(({ name, info }) => info.aliases.map((alias) => `alias ${alias} ${name}`))),
    ],
    [
      'modules.softdep',
      lines(
        modules
          .filter(({ info }) => info.softDependencies.length > 0)
          .map(({ name, info }) => `softdep ${name} pre: ${info.softDependencies.join(' ')}`),
      ),
    ],
  ]);
}

/** Dependents before what they depend on: modprobe loads the list from its end. */
function loadOrder(modules: readonly KernelModule[]): KernelModule[] {
  const left = new Map(modules.map((module) => [module.name, module]));
  const ordered: KernelModule[] = [];
  const visit = (module: KernelModule): void => {
    if (!left.delete(module.name)) return;
    for (const name of module.info.depends) {
      const dependency = left.get(name);
      if (dependency !== undefined) visit(dependency);
    }
    ordered.unshift(module);
  };
  for (const module of modules) visit(module);
  return ordered;
}
