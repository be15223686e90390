/**
 * The rules of the layers that the compiler cannot state. TypeScript refuses a file outside the referenced projects and an unknown name;
 * it accepts a project referenced only through another one, any package that happens to lie in node_modules, and a relative path
 * into a neighbouring package. Each rule answers with a sentence that says what to do instead.
 */

import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { importsOf, type ImportSite } from './imports.ts';
import { packageAt, type Package, splitSpecifier } from './packages.ts';
import type { Project } from './projects.ts';

export interface Repository {
  readonly root: string;
  readonly projects: readonly Project[];
  readonly packages: readonly Package[];
  readonly developmentDependencies: ReadonlySet<string>;
  /** Every source file there is, absolute, whether a project owns it or not. */
  readonly sources: readonly string[];
}

/** Packages that import nothing from outside the repository, ever (ARCHITECTURE.md, "Dependencies"). */
const PACKAGES_WITHOUT_DEPENDENCIES = ['@ringfence/core'];

/** All violations, each one line: `file:line: sentence`. */
export function violations(repository: Repository): string[] {
  const { projects, packages, sources, root } = repository;
  const ownership = sources.flatMap((source) => {
    const owners = projects.filter(({ files }) => files.has(source)).map(({ config }) => config);
    if (owners.length === 1) return [];
    const problem =
      owners.length === 0
        ? 'belongs to no tsconfig.json, so nothing checks it; add it to a project'
        : `belongs to ${owners.join(' and ')}; one layer owns a file`;
    return [`${relative(root, source)}:1: ${problem}`];
  });
  const dependent = packages
    .filter(({ name, dependencies }) => PACKAGES_WITHOUT_DEPENDENCIES.includes(name) && dependencies.size > 0)
    .map(
      ({ folder, name }) =>
        `${relative(root, folder)}/package.json:1: ${name} has no dependencies; take what you need through a port`,
    );
  const imported = projects.flatMap((project) =>
    [...project.files].flatMap((file) => violationsOf(repository, project, file)),
  );
  return [...dependent, ...ownership, ...imported];
}

function violationsOf(repository: Repository, project: Project, file: string): string[] {
  const { imports, referenceDirectives } = importsOf(file, readFileSync(file, 'utf8'));
  const at = (line: number, sentence: string): string => `${relative(repository.root, file)}:${line}: ${sentence}`;
  const directives = referenceDirectives.map((line) =>
    at(line, 'has a reference directive; what a project sees is written in its tsconfig.json'),
  );
  const wrong = imports.flatMap((site) => {
    const sentence = problemWith(repository, project, file, site);
    return sentence === undefined ? [] : [at(site.line, sentence)];
  });
  return [...directives, ...wrong];
}

/** Why `file` of `project` may not import this, or undefined when it may. */
function problemWith(
  repository: Repository,
  project: Project,
  file: string,
  { specifier, reexports }: ImportSite,
): string | undefined {
  if (specifier === undefined) {
    return project.pure ? 'imports a module whose name is computed; a pure layer names what it imports' : undefined;
  }
  const isEntry = repository.packages.some(({ entries }) => [...entries.values()].includes(file));
  if (reexports && !isEntry) return `re-exports '${specifier}'; only the entry of a package does`;
  if (specifier.startsWith('./') || specifier.startsWith('../')) {
    return problemWithFile(repository, project, specifier, resolve(dirname(file), specifier));
  }
  if (isBuiltin(specifier)) {
    return project.pure
      ? `imports '${specifier}', but ${project.name} is pure; declare a port and let the caller hand it in`
      : undefined;
  }
  if (/^(\/|#|[a-z]+:)/i.test(specifier))
    return `imports '${specifier}'; name a file by a relative path, another package by its name`;
  return problemWithPackage(repository, project, specifier);
}

function problemWithFile(
  { projects, packages }: Repository,
  project: Project,
  specifier: string,
  target: string,
): string | undefined {
  if (project.files.has(target) || target.endsWith('.d.ts')) return undefined;
  const home = packageAt(packages, target);
  if (home?.folder !== project.packageFolder) {
    return `imports '${specifier}' across packages; ${home === undefined ? 'no package may use the tools' : `import it by name ('${home.name}')`}`;
  }
  const owner = projects.find(({ files }) => files.has(target));
  if (owner === undefined || project.references.has(owner.config)) return undefined; // a missing file is the compiler's business
  return `imports '${specifier}' of ${owner.name}; ${mayImport(projects, project)}`;
}

function problemWithPackage(repository: Repository, project: Project, specifier: string): string | undefined {
  const { packages, projects, developmentDependencies } = repository;
  const { name, entry } = splitSpecifier(specifier);
  const own = packages.find(({ folder }) => folder === project.packageFolder);
  const workspace = packages.find((candidate) => candidate.name === name);
  if (workspace === undefined) {
    if (own?.dependencies.has(name) === true || (project.development && developmentDependencies.has(name)))
      return undefined;
    return `imports '${specifier}', which is not among the dependencies of ${own?.name ?? 'the repository'}`;
  }
  if (workspace === own) return `imports its own package by name ('${specifier}'); import the file`;
  const target = workspace.entries.get(entry);
  if (target === undefined) return `imports '${specifier}', which is no entry of ${name} (exports in its package.json)`;
  const owner = projects.find(({ files }) => files.has(target));
  if (owner !== undefined && !project.references.has(owner.config))
    return `imports '${specifier}'; ${mayImport(projects, project)}`;
  if (own !== undefined && !own.dependencies.has(name))
    return `imports '${specifier}', but ${own.name} does not list ${name} in its package.json`;
  return undefined;
}

function mayImport(projects: readonly Project[], project: Project): string {
  const allowed = projects.filter(({ config }) => project.references.has(config)).map(({ name }) => name);
  return `${project.name} may import ${allowed.length === 0 ? 'nothing else' : `only ${allowed.join(', ')}`} (${project.config}, references)`;
}
