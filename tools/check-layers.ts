/**
 * Checks that imports point one way, as far as `tsc -b` cannot: `node tools/check-layers.ts [FOLDER]`. Prints one line per
 * violation and exits with 1 when there is one. How to add a layer or a package: CONTRIBUTING.md.
 */

import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { readDevelopmentDependencies, readPackages } from './layers/packages.ts';
import { readProjects } from './layers/projects.ts';
import { violations } from './layers/rules.ts';

const root = resolve(process.argv[2] ?? '.');
const projects = await readProjects(root);
const sources = globSync(['packages/**/*.ts', 'tools/**/*.ts', '*.ts'], {
  cwd: root,
  exclude: ['**/node_modules/**', '**/dist/**', '**/*.d.ts'],
}).map((source) => resolve(root, source));

const found = violations({
  root,
  projects,
  packages: readPackages(root),
  developmentDependencies: readDevelopmentDependencies(root),
  sources,
});
for (const violation of found) console.error(violation);
if (found.length > 0) process.exitCode = 1;
else
  console.log(
    `${sources.length} files in ${projects.filter(({ files }) => files.size > 0).length} projects import only what they may`,
  );
