/**
 * A WebAssembly module in the making: functions, imports, exports, one imported memory, globals (Core Specification, 5.5). Imports come
 * first because they take the first function indices; once the index of an own function was asked for, no import may follow. Functions may
 * be declared before they are written, so that they can call each other.
 */

import { assert, defined } from '../base/assert.ts';
import { Body, type Local, localAt, typeByte } from './body.ts';
import { Bytes, lengthU32 } from './bytes.ts';
import type { ValueType } from './expression-base.ts';

/** A function that can be called: imported, declared or written. */
export interface FunctionRef<T extends ValueType = ValueType> {
  readonly name: string;
  readonly index: number;
  readonly parameters: readonly ValueType[];
  readonly results: readonly T[];
}

/** A function of this module, whose parameters are known one by one. */
export type DeclaredFunction<P extends readonly ValueType[], T extends ValueType = ValueType> = Omit<
  FunctionRef<T>,
  'parameters'
> & { readonly parameters: P };

/** Parameters as locals, by position. */
export type ParameterLocals<P extends readonly ValueType[]> = { [K in keyof P]: Local<P[K]> };

/** A signature, for indirect calls. */
export interface FunctionType {
  readonly index: number;
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** The table of functions a module imports. */
export interface TableImport {
  readonly module: string;
  readonly name: string;
  readonly minimum: number;
}

interface Written {
  readonly ref: FunctionRef;
  readonly type: number;
  body: Body | undefined;
}

/** A mutable global of this module's instance alone. */
export interface GlobalRef<T extends 'i32' | 'i64' = 'i32' | 'i64'> {
  readonly type: T;
  readonly index: number;
}

/** The memory a module imports. `shared` memories need a maximum (in 64 KiB pages). */
export interface MemoryImport {
  readonly module: string;
  readonly name: string;
  readonly initialPages: number;
  readonly maximumPages: number;
  readonly shared: boolean;
}

export class ModuleBuilder {
  readonly #types = new Map<string, number>();
  readonly #typeBytes = new Bytes();
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: Written[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  readonly #globals: GlobalRef[] = [];
  readonly #importedGlobals: { module: string; name: string; type: 'i32' | 'i64' }[] = [];
  readonly #globalExports: { name: string; index: number }[] = [];
  readonly #elements: { at: number; functions: readonly FunctionRef[] }[] = [];
  #isSealed = false;
  #memory: MemoryImport | undefined;
  #table: TableImport | undefined;

  importMemory(memory: MemoryImport): void {
    this.#memory = memory;
  }

  /** A table of functions; there is one. */
  importTable(table: TableImport): void {
    this.#table = table;
  }

  /** A mutable global of another module. Before any of this module's own. */
  importGlobal<T extends 'i32' | 'i64'>(module: string, name: string, type: T): GlobalRef<T> {
    assert(this.#globals.length === 0, 'imported globals come before own ones');
    this.#importedGlobals.push({ module, name, type });
    return { type, index: this.#importedGlobals.length - 1 };
  }

  /** A signature for indirect calls. */
  type(parameters: readonly ValueType[], results: readonly ValueType[]): FunctionType {
    return { index: this.#typeIndex(parameters, results), parameters, results };
  }

  /** At instantiation, `functions` go into the table from `at` on. */
  elements(at: number, functions: readonly FunctionRef[]): void {
    this.#elements.push({ at, functions });
  }

  importFunction<const P extends readonly ValueType[], T extends ValueType>(
    module: string,
    name: string,
    parameters: P,
    results: readonly T[],
  ): FunctionRef<T> {
    assert(!this.#isSealed, 'imports come before calls of own functions');
    const index = this.#imports.length;
    this.#imports.push({ module, name, type: this.#typeIndex(parameters, results) });
    return { name, index, parameters, results };
  }

  /** A mutable global, zero at instantiation. */
  global<T extends 'i32' | 'i64'>(type: T): GlobalRef<T> {
    const ref = { type, index: this.#importedGlobals.length + this.#globals.length };
    this.#globals.push(ref);
    return ref;
  }

  exportGlobal(ref: GlobalRef, name: string): void {
    this.#globalExports.push({ name, index: ref.index });
  }

  /** A function to be written later with `define`. */
  declare<const P extends readonly ValueType[], T extends ValueType>(
    name: string,
    parameters: P,
    results: readonly T[],
  ): DeclaredFunction<P, T> {
    const position = this.#functions.length;
    const indexOf = (): number => {
      this.#isSealed = true;
      return this.#imports.length + position;
    };
    const ref = {
      name,
      get index(): number {
        return indexOf();
      },
      parameters,
      results,
    };
    this.#functions.push({ ref, type: this.#typeIndex(parameters, results), body: undefined });
    return ref;
  }

  /** Writes a declared function. */
  define<const P extends readonly ValueType[]>(
    ref: DeclaredFunction<P>,
    write: (body: Body, ...parameters: ParameterLocals<P>) => void,
  ): void {
    const written = this.#functions.findLast((each) => each.ref === ref);
    assert(written !== undefined && written.body === undefined, `${ref.name} is written twice or is another module's`);
    const body = new Body(ref.parameters, ref.results);
    written.body = body;
    const locals = ref.parameters.map((type, index) => localAt(index, type)) as unknown as ParameterLocals<P>;
    write(body, ...locals);
  }

  /** Declares and writes a function. */
  function<const P extends readonly ValueType[], T extends ValueType>(
    name: string,
    parameters: P,
    results: readonly T[],
    write: (body: Body, ...parameters: ParameterLocals<P>) => void,
  ): DeclaredFunction<P, T> {
    const ref = this.declare(name, parameters, results);
    this.define(ref, write);
    return ref;
  }

  export(ref: FunctionRef, name = ref.name): void {
    this.#exports.push({ name, index: ref.index });
  }

  /** The module as bytes. Without `names` it is smaller and says nothing to profilers. */
  build(names = true): Uint8Array {
    const out = new Bytes(1 << 16);
    for (const byte of [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]) out.byte(byte);
    section(out, 1, this.#types.size, this.#typeBytes);
    this.#writeImports(out);
    const functions = new Bytes();
    for (const { type } of this.#functions) functions.u32(type);
    section(out, 3, this.#functions.length, functions);
    const globals = new Bytes();
    for (const { type } of this.#globals) {
      for (const byte of [typeByte[type], 0x01, type === 'i32' ? 0x41 : 0x42, 0x00, 0x0b]) globals.byte(byte);
    }
    section(out, 6, this.#globals.length, globals);
    const exports = new Bytes();
    for (const { name, index } of this.#exports) {
      exports.name(name);
      exports.byte(0);
      exports.u32(index);
    }
    for (const { name, index } of this.#globalExports) {
      exports.name(name);
      exports.byte(3);
      exports.u32(index);
    }
    section(out, 7, this.#exports.length + this.#globalExports.length, exports);
    this.#writeElements(out);
    this.#writeHints(out);
    this.#writeCode(out);
    if (names) this.#writeNames(out);
    return out.view().slice();
  }

  #writeImports(out: Bytes): void {
    const imports = new Bytes();
    for (const { module, name, type } of this.#imports) {
      imports.name(module);
      imports.name(name);
      imports.byte(0);
      imports.u32(type);
    }
    const memory = this.#memory;
    if (memory) {
      imports.name(memory.module);
      imports.name(memory.name);
      imports.byte(2);
      imports.byte(memory.shared ? 3 : 1);
      imports.u32(memory.initialPages);
      imports.u32(memory.maximumPages);
    }
    const table = this.#table;
    if (table) {
      imports.name(table.module);
      imports.name(table.name);
      for (const byte of [1, 0x70, 0]) imports.byte(byte);
      imports.u32(table.minimum);
    }
    for (const { module, name, type } of this.#importedGlobals) {
      imports.name(module);
      imports.name(name);
      for (const byte of [3, typeByte[type], 1]) imports.byte(byte);
    }
    const count = this.#imports.length + (memory ? 1 : 0) + (table ? 1 : 0) + this.#importedGlobals.length;
    section(out, 2, count, imports);
  }

  #writeElements(out: Bytes): void {
    if (this.#elements.length === 0) return;
    const elements = new Bytes();
    for (const { at, functions } of this.#elements) {
      elements.byte(0);
      elements.byte(0x41);
      elements.s32(at);
      elements.byte(0x0b);
      elements.u32(functions.length);
      for (const ref of functions) elements.u32(ref.index);
    }
    section(out, 9, this.#elements.length, elements);
  }

  /** The branch hints, in a custom section that stands before the code (Branch Hinting proposal, "metadata.code.branch_hint"). */
  #writeHints(out: Bytes): void {
    const hinted = this.#functions.filter(({ body }) => body !== undefined && body.hints.length > 0);
    if (hinted.length === 0) return;
    const content = new Bytes();
    content.name('metadata.code.branch_hint');
    content.u32(hinted.length);
    for (const { ref, body } of hinted) {
      const { hints, locals } = defined(body, ref.name);
      content.u32(ref.index);
      content.u32(hints.length);
      for (const hint of hints) {
        // Offsets count from the body's declarations of locals.
        content.u32(locals.length + (hint >> 1));
        content.u32(1);
        content.byte(hint & 1);
      }
    }
    out.byte(0);
    out.u32(content.length);
    out.bytes(content.view());
  }

  #writeCode(out: Bytes): void {
    const bodies = this.#functions.map(({ ref, body }) => defined(body, `the body of ${ref.name}`));
    const sizes = bodies.map(({ code, locals }) => locals.length + code.length + 1);
    sectionHead(
      out,
      10,
      bodies.length,
      sizes.reduce((sum, size) => sum + size + lengthU32(size), 0),
    );
    for (const [index, { code, locals }] of bodies.entries()) {
      out.u32(defined(sizes[index], 'a size'));
      out.bytes(locals);
      out.bytes(code.view());
      out.byte(0x0b);
    }
  }

  /** The name section (Core Specification 7.4), so that profiles and stack traces read well. */
  #writeNames(out: Bytes): void {
    const names = new Bytes();
    names.name('name');
    const map = new Bytes();
    map.u32(this.#functions.length);
    for (const { ref } of this.#functions) {
      map.u32(ref.index);
      map.name(ref.name);
    }
    names.byte(1);
    names.u32(map.length);
    names.bytes(map.view());
    out.byte(0);
    out.u32(names.length);
    out.bytes(names.view());
  }

  #typeIndex(parameters: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${parameters.join()}>${results.join()}`;
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    const index = this.#types.size;
    this.#types.set(key, index);
    this.#typeBytes.byte(0x60);
    for (const list of [parameters, results]) {
      this.#typeBytes.u32(list.length);
      for (const type of list) this.#typeBytes.byte(typeByte[type]);
    }
    return index;
  }
}

function section(out: Bytes, id: number, count: number, content: Bytes): void {
  sectionHead(out, id, count, content.length);
  out.bytes(content.view());
}

/** What stands before `length` bytes of content: `count` things. */
function sectionHead(out: Bytes, id: number, count: number, length: number): void {
  out.byte(id);
  out.u32(lengthU32(count) + length);
  out.u32(count);
}
