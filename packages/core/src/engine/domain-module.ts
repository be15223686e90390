/** Generated code beside an engine's own that works on the memory of a domain. */

import { type FunctionRef, ModuleBuilder } from '../wasm/module.ts';
import type { Domain } from './domain.ts';

/** A module of the functions that `define` makes, with the domain's memory as its own; what it exports is `T`. */
export async function moduleOn<T>(
  { memory, memoryPages }: Domain,
  define: (module: ModuleBuilder) => readonly FunctionRef[],
): Promise<T> {
  const module = new ModuleBuilder();
  module.importMemory({
    module: 'env',
    name: 'memory',
    initialPages: memoryPages,
    maximumPages: memoryPages,
    shared: true,
  });
  for (const ref of define(module)) module.export(ref);
  const { instance } = await WebAssembly.instantiate(module.build(), { env: { memory } });
  return instance.exports as unknown as T;
}
