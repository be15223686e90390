/**
 * Makes the built program (packages/cli/bin/built-program.js says what for): `npm run build`. `npm ci` does it too, and goes on without
 * when it cannot be done, because nothing needs it.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sourcesFingerprint } from '@ringfence/host/program-fingerprint';
import { PROGRAM_FOLDER } from 'ringfence/built-program';

const repository = join(import.meta.dirname, '..');
try {
  const { bundle } = await import('./build/bundle.ts');
  const constants = { BUILT_OF: sourcesFingerprint() };
  const entries = {
    main: 'packages/cli/src/main.ts',
    'region-compiler-thread': 'packages/host/src/machine/region-compiler-thread.ts',
    'pcpu-thread': 'packages/host/src/machine/pcpu-thread.ts',
    'frame-packer-thread': 'packages/host/src/snapshot/frame-packer-thread.ts',
    'vm-process-main': 'packages/host/src/vm-process/main.ts',
  };
  const inputs = await bundle(repository, entries, PROGRAM_FOLDER, constants);
  console.log(`${PROGRAM_FOLDER}: built of ${inputs.length} files`);
  // Made here, because a Node that makes a start snapshot has no WebAssembly.
  const { makeInterpreter } = await import('@ringfence/host/interpreter');
  const { key, bytes } = makeInterpreter();
  const path = join(repository, PROGRAM_FOLDER, 'interpreter.wasm');
  writeFileSync(path, bytes);
  const { recipeOf } = await import('@ringfence/images/recipe');
  const { startSnapshot } = await import('./build/start-snapshot.ts');
  await startSnapshot(repository, entries, PROGRAM_FOLDER, {
    ...constants,
    INTERPRETER: JSON.stringify({ key, path }),
    RECIPE: await recipeOf(),
  });
} catch (error) {
  console.error(
    `${PROGRAM_FOLDER} was not built, so Ringfence starts from its sources, which takes longer: ` +
      (error instanceof Error ? error.message : String(error)),
  );
  process.exitCode = 1;
}
