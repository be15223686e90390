/**
 * The engine's tiers, for suites that run on each of them (`describe.each(TIERS)`). Who makes a tier adds it to the list, and every such
 * suite runs on it.
 */

import type { Domain } from '../domain.ts';
import { Engine, type EngineKind, type EngineSurroundings } from '../engine.ts';

export type Tier = EngineKind;

/** Tests are short: what users' programs do a thousand times they do a few times. */
const EARLY = { threshold: 8, rounds: 1 };

export const TIERS: readonly Tier[] = ['interpreter', 'jit', 'jit-eager'];
/** The one that the others are compared with. */
export const REFERENCE_TIER: Tier = 'interpreter';
/** The one that users get: for suites too long to run on each. */
export const DEFAULT_TIER: Tier = 'jit';
/** Those that boot a whole Linux in good time: compiling all of a kernel at first sight takes minutes. */
export const BOOTING_TIERS: readonly Tier[] = TIERS.filter((tier) => tier !== 'jit-eager');

/** What makes a machine run on that tier: to be spread into its options. */
export const onTier = (engine: Tier): { readonly engine: Tier; readonly heat: typeof EARLY } => ({
  engine,
  heat: EARLY,
});

export function createEngine(domain: Domain, surroundings: EngineSurroundings, tier: Tier): Promise<Engine> {
  return Engine.create(domain, surroundings, { kind: tier, heat: EARLY });
}
