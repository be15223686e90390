/**
 * Runs many test vectors through the generated code at once: one wasm module with all functions and all inline forms, and for each
 * operation a loop over records in memory. The records are what the RISC-V program of guest-program.ts reads and writes as well.
 *
 *     vector, 32 bytes:  operation u8, rm u8, 6 unused bytes, a u64, b u64, c u64      (little endian; f32 and i32 in the low half)
 *     outcome, 16 bytes: bits u64 (zero-extended), flags u64
 */

import { Body } from '../../../wasm/body.ts';
import { I32, type I64, i32 } from '../../../wasm/expression.ts';
import type { Expression } from '../../../wasm/expression-base.ts';
import { load8U, load32, load64 } from '../../../wasm/memory-access.ts';
import { type FunctionRef, ModuleBuilder } from '../../../wasm/module.ts';
import { fastFloat } from '../fast.ts';
import { type RoundingMode, rounding } from '../formats.ts';
import { type FlagSink, type FloatEmitters, defineFloat } from '../index.ts';
import type { FloatFunctions } from '../signatures.ts';

export const vectorSize = 32;
export const outcomeSize = 16;

/** The function; the inline form with a mode known at run time; the inline form with a mode known while the code is written. */
export const forms = ['function', 'inline', 'inline, static mode'] as const;
export type Form = (typeof forms)[number];

/** Every operation, by the name of its function. */
export const operationNames: readonly string[] = operationsOf(
  defineFloat(new ModuleBuilder(), { raise() {}, isInexact: () => i32(0) }),
).map((ref) => ref.name);

const withoutMode = new Set(['min', 'max', 'eq', 'lt', 'le', 'classify', 'f32ToF64']);
export const takesMode = (name: string): boolean => !withoutMode.has(name.slice(name.indexOf('.') + 1));

function operationsOf(functions: FloatFunctions): FunctionRef[] {
  return (Object.values(functions) as Record<string, FunctionRef>[]).flatMap((group) => Object.values(group));
}

const flagsAddress = 16;
const vectorsAddress = 64;
const batchSize = 4096;
const outcomesAddress = vectorsAddress + batchSize * vectorSize;
const memoryPages = 4;

/** The test's hart: flags in a word of memory. */
export const sink: FlagSink = {
  raise: (body, flags) => body.store32(flagsAddress, load32(flagsAddress).or(flags)),
  isInexact: () => load32(flagsAddress).and(1),
};

type BatchFunction = (count: number, initialFlags: number) => void;

export class FloatHarness {
  readonly #memory = new WebAssembly.Memory({ initial: memoryPages, maximum: memoryPages });
  readonly #exports: WebAssembly.Exports;

  constructor(options: { readonly fusedMultiplyAdd: boolean }) {
    const module = new ModuleBuilder();
    module.importMemory({
      module: 'test',
      name: 'memory',
      initialPages: memoryPages,
      maximumPages: memoryPages,
      shared: false,
    });
    const functions = defineFloat(module, sink);
    const emitters = fastFloat(functions, sink, options);
    for (const ref of operationsOf(functions)) {
      for (const form of forms) module.export(defineBatch(module, ref, form, emitters));
    }
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
      test: { memory: this.#memory },
    });
    this.#exports = instance.exports;
  }

  /** The outcomes of `vectors`, all of one operation, each starting with `initialFlags` accrued. */
  run(name: string, form: Form, vectors: Uint8Array, initialFlags: number): Uint8Array {
    const batch = this.#exports[`${form}: ${name}`] as BatchFunction;
    const memory = new Uint8Array(this.#memory.buffer);
    const count = vectors.length / vectorSize;
    const outcomes = new Uint8Array(count * outcomeSize);
    for (let first = 0; first < count; first += batchSize) {
      const size = Math.min(batchSize, count - first);
      memory.set(vectors.subarray(first * vectorSize, (first + size) * vectorSize), vectorsAddress);
      batch(size, initialFlags);
      outcomes.set(memory.subarray(outcomesAddress, outcomesAddress + size * outcomeSize), first * outcomeSize);
    }
    return outcomes;
  }
}

/** (count, initialFlags) */
function defineBatch(module: ModuleBuilder, ref: FunctionRef, form: Form, emitters: FloatEmitters): FunctionRef {
  return module.function(`${form}: ${ref.name}`, ['i32', 'i32'], [], (body, count, initialFlags) => {
    const vector = body.local('i32');
    const outcome = body.local('i32');
    body.set(vector, vectorsAddress);
    body.set(outcome, outcomesAddress);
    body.loop((again) => {
      body.store32(flagsAddress, initialFlags.value);
      const rm = body.let(load8U(vector.value, 1));
      const operands = ref.parameters.slice(0, operandCount(ref)).map((type, index) => {
        const bits = load64(vector.value, 8 + 8 * index);
        return body.let(type === 'i32' ? bits.toI32() : bits);
      });
      store(body, outcome.value, body.let(operate(body, ref, form, emitters, operands, rm)));
      body.store64(outcome.value, load32(flagsAddress).toI64U(), 8);
      body.set(vector, vector.value.add(vectorSize));
      body.set(outcome, outcome.value.add(outcomeSize));
      body.set(count, count.value.sub(1));
      body.brIf(again, count.value);
    });
  });
}

const operandCount = (ref: FunctionRef): number => ref.parameters.length - (takesMode(ref.name) ? 1 : 0);

function store(body: Body, address: I32, value: I32 | I64): void {
  body.store64(address, value instanceof I32 ? value.toI64U() : value);
}

type Emitter = (body: Body, ...operands: (Expression | number)[]) => I32 | I64;

function operate(
  body: Body,
  ref: FunctionRef,
  form: Form,
  emitters: FloatEmitters,
  operands: (I32 | I64)[],
  rm: I32,
): I32 | I64 {
  const modes = takesMode(ref.name) ? [rm] : [];
  if (form === 'function') return body.call(ref as FunctionRef<'i32' | 'i64'>, ...operands, ...modes);
  const [group, operation] = ref.name.split('.') as [keyof FloatEmitters, string];
  const emitter = (emitters[group] as unknown as Record<string, Emitter>)[operation] as Emitter;
  if (form === 'inline' || modes.length === 0) return emitter(body, ...operands, ...modes);
  const result = body.local<'i32' | 'i64'>(ref.results[0] as 'i32' | 'i64');
  for (const mode of Object.values(rounding) satisfies RoundingMode[]) {
    body.if(rm.eq(mode), () => body.set(result, emitter(body, ...operands, mode)));
  }
  return result.value;
}
