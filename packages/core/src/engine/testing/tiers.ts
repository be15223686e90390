/**
 * The engine's tiers, for suites that run on each of them (`describe.each(TIERS)`). Who makes a tier adds it to the list, and every such
 * suite runs on it.
 */

import type { Domain } from '../domain.ts';
import { Engine, type EngineSurroundings } from '../engine.ts';

/** `jit-eager` compiles everything at first sight. */
export type Tier = 'interpreter' | 'jit' | 'jit-eager';

/** Those that exist. */
export const TIERS: readonly Tier[] = ['interpreter'];
/** The one that the others are compared with. */
export const REFERENCE_TIER: Tier = 'interpreter';
/** The one that users get: for suites too long to run on each. */
export const DEFAULT_TIER: Tier = TIERS.includes('jit') ? 'jit' : 'interpreter';

type EngineMaker = (domain: Domain, surroundings: EngineSurroundings, tier: Tier) => Promise<Engine>;

/** What makes a machine run on that tier: to be spread into its options. */
export const onTier = (engine: Tier): { readonly engine: Tier } => ({ engine });

/** An engine of that tier. As long as there is one tier, neither `Engine.create` nor a machine takes notice of the name. */
export const createEngine: EngineMaker = Engine.create.bind(Engine);
