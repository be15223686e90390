/**
 * The part of the WebAssembly JavaScript interface that Ringfence uses. TypeScript declares it only together with a whole web page
 * (`lib: ["dom"]`), which pure layers must not see; Node's types do not declare it at all. Names and shapes as in the
 * specification: WebAssembly JavaScript Interface, chapter 5 (https://www.w3.org/TR/wasm-js-api-2/), threads and exception handling.
 */

declare namespace WebAssembly {
  type BufferSource = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

  /** A compiled module. Stateless: it may be handed to other workers. */
  class Module {
    constructor(bytes: BufferSource);
    static exports(module: Module): ModuleExportDescriptor[];
    static imports(module: Module): ModuleImportDescriptor[];
    static customSections(module: Module, sectionName: string): ArrayBuffer[];
    // The private field keeps any other object from passing as a Module.
    #module;
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
    #instance;
  }

  class Memory {
    constructor(descriptor: MemoryDescriptor);
    /** A new object after every `grow`, unless the memory is shared: then older ones stay valid, with their old length. */
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    /** Adds `delta` pages of 64 KiB; gives the size before, in pages. */
    grow(delta: number): number;
    #memory;
  }

  class Table {
    constructor(descriptor: TableDescriptor, value?: unknown);
    readonly length: number;
    get(index: number): unknown;
    set(index: number, value?: unknown): void;
    grow(delta: number, value?: unknown): number;
    #table;
  }

  class Global<T extends ValueType = ValueType> {
    constructor(descriptor: GlobalDescriptor<T>, value?: ValueTypeMap[T]);
    value: ValueTypeMap[T];
    valueOf(): ValueTypeMap[T];
    #global;
  }

  class Tag {
    constructor(descriptor: { readonly parameters: readonly ValueType[] });
    #tag;
  }

  class Exception extends Error {
    constructor(tag: Tag, payload: readonly unknown[], options?: { readonly traceStack?: boolean });
    is(tag: Tag): boolean;
    getArg(tag: Tag, index: number): unknown;
    #exception;
  }

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  /** Sizes in pages of 64 KiB. A shared memory must name its maximum. */
  interface MemoryDescriptor {
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }

  interface TableDescriptor {
    readonly element: 'anyfunc' | 'externref';
    readonly initial: number;
    readonly maximum?: number;
  }

  interface GlobalDescriptor<T extends ValueType = ValueType> {
    readonly value: T;
    readonly mutable?: boolean;
  }

  interface ValueTypeMap {
    anyfunc: unknown;
    externref: unknown;
    f32: number;
    f64: number;
    i32: number;
    i64: bigint;
    v128: never;
  }
  type ValueType = keyof ValueTypeMap;

  type ImportExportKind = 'function' | 'table' | 'memory' | 'global' | 'tag';
  interface ModuleExportDescriptor {
    readonly name: string;
    readonly kind: ImportExportKind;
  }
  interface ModuleImportDescriptor extends ModuleExportDescriptor {
    readonly module: string;
  }

  // What a function takes and gives is known only to who wrote the module.
  type ExportValue = Function | Global | Memory | Table | Tag;
  type ImportValue = ExportValue | number | bigint;
  type Exports = Record<string, ExportValue>;
  type ModuleImports = Record<string, ImportValue>;
  type Imports = Record<string, ModuleImports>;

  interface InstantiatedSource {
    readonly module: Module;
    readonly instance: Instance;
  }

  /** True when `bytes` are a module this engine can compile; the way to ask whether it knows an extension. */
  function validate(bytes: BufferSource): boolean;
  function compile(bytes: BufferSource): Promise<Module>;
  function instantiate(bytes: BufferSource, imports?: Imports): Promise<InstantiatedSource>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
}
