/**
 * Which packages the image `tiny` is made of. The kernel's name carries its version, so it is found through the meta package
 * `linux-image-riscv64`. Until Debian 13 one package below it holds kernel and modules; from Debian 14 on `linux-image-VERSION` is a
 * meta package itself, over `linux-binary-VERSION` and `linux-modules-VERSION`.
 */

import { ImageError } from '../image-error.ts';
import type { Package } from './packages.ts';

export const KERNEL_META_PACKAGE = 'linux-image-riscv64';
const KERNEL_PART = /^linux-(?:image|binary|modules)-(\d.*)$/;
const BUSYBOX_STATIC = 'busybox-static';
const BUSYBOX = 'busybox';

export interface KernelPackages {
  /** As `uname -r` says it. */
  readonly kernelVersion: string;
  readonly packages: readonly Package[];
}

/** What `readPackages` has to keep for `kernelPackages` and a static busybox. */
export function isImagePackage(name: string): boolean {
  return name === KERNEL_META_PACKAGE || name === BUSYBOX_STATIC || name === BUSYBOX || KERNEL_PART.test(name);
}

export function kernelPackages(packages: ReadonlyMap<string, Package>, suite: string): KernelPackages {
  const meta = packages.get(KERNEL_META_PACKAGE);
  if (meta === undefined)
    throw new ImageError(
      'no-package',
      `Suite ${suite} has no package ${KERNEL_META_PACKAGE}. Choose another with --suite.`,
    );
  const found = [...closure(meta, packages, suite, (name) => KERNEL_PART.test(name))].filter(
    ({ name }) => name !== KERNEL_META_PACKAGE,
  );
  const versions = new Set(found.map(({ name }) => KERNEL_PART.exec(name)?.[1]));
  const [kernelVersion] = versions;
  if (kernelVersion === undefined || versions.size > 1) {
    throw new ImageError(
      'no-package',
      `${KERNEL_META_PACKAGE} ${meta.version} of suite ${suite} depends on no kernel, or on more than one.`,
    );
  }
  return { kernelVersion, packages: found };
}

/** The static busybox; undefined when the suite has none and `busyboxWithLibraries` has to do. */
export function staticBusybox(packages: ReadonlyMap<string, Package>): Package | undefined {
  return packages.get(BUSYBOX_STATIC);
}

/** busybox and all it depends on. `packages` has to know every package of the suite. */
export function busyboxWithLibraries(packages: ReadonlyMap<string, Package>, suite: string): Package[] {
  const busybox = packages.get(BUSYBOX);
  if (busybox === undefined)
    throw new ImageError('no-package', `Suite ${suite} has neither ${BUSYBOX_STATIC} nor ${BUSYBOX}.`);
  return [...closure(busybox, packages, suite, () => true)];
}

/** `root` and what it depends on, as far as `follow` likes the name; of alternatives the first that there is. */
function closure(
  root: Package,
  packages: ReadonlyMap<string, Package>,
  suite: string,
  follow: (name: string) => boolean,
): Set<Package> {
  const found = new Set([root]);
  for (const dependent of found) {
    for (const group of dependent.depends) {
      const followed = group.filter(({ name }) => follow(name));
      if (followed.length === 0) continue;
      const relation = followed.find(({ name }) => packages.has(name));
      const dependency = relation === undefined ? undefined : packages.get(relation.name);
      if (dependency === undefined || (relation?.operator === '=' && relation.version !== dependency.version)) {
        const missing = followed
          .map(({ name, version }) => (version === undefined ? name : `${name} ${version}`))
          .join(' or ');
        throw new ImageError(
          'no-package',
          `${dependent.name} ${dependent.version} needs ${missing}, which suite ${suite} does not have.`,
        );
      }
      found.add(dependency); // a Set visits what is added while it is walked
    }
  }
  return found;
}
