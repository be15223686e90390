/**
 * The second oracle: a static riscv64 program, generated here from the list of operations, that executes each vector of its standard input with
 * the real instruction and writes bits and fflags. Run by QEMU (or by a RISC-V board). Formats of both streams: harness.ts. The program has
 * no C library; what it needs of one are three system calls of Linux.
 */

import { operationNames, outcomeSize, vectorSize } from './harness.ts';

const mnemonics: Record<string, string> = {
  add: 'fadd',
  sub: 'fsub',
  mul: 'fmul',
  div: 'fdiv',
  sqrt: 'fsqrt',
  fma: 'fmadd',
  min: 'fmin',
  max: 'fmax',
  eq: 'feq',
  lt: 'flt',
  le: 'fle',
  classify: 'fclass',
};
const integerSuffixes: Record<string, string> = { I32: 'w', U32: 'wu', I64: 'l', U64: 'lu' };

/** The instruction with its operands: floats in ft0, ft1, ft2, integers in `a`; a float result in ft3, an integer one in `result`. */
function instruction(name: string): string {
  if (name === 'convert.f64ToF32') return 'fcvt.s.d ft3, ft0, dyn';
  if (name === 'convert.f32ToF64') return 'fcvt.d.s ft3, ft0';
  const [format, operation] = name.split('.') as [string, string];
  const suffix = format === 'f32' ? 's' : 'd';
  const [, direction, integer] = /^(to|from)([IU]\d\d)$/.exec(operation) ?? [];
  if (direction === 'to') return `fcvt.${integerSuffixes[integer as string]}.${suffix} %[result], ft0, dyn`;
  if (direction === 'from') {
    // GNU as takes no mode for the two conversions that are always exact.
    const mode = suffix === 'd' && integer?.endsWith('32') ? '' : ', dyn';
    return `fcvt.${suffix}.${integerSuffixes[integer as string]} ft3, %[a]${mode}`;
  }
  const operands: Record<string, string> = { sqrt: 'ft3, ft0', fma: 'ft3, ft0, ft1, ft2', classify: '%[result], ft0' };
  const isComparison = ['eq', 'lt', 'le'].includes(operation);
  return `${mnemonics[operation]}.${suffix} ${operands[operation] ?? `${isComparison ? '%[result]' : 'ft3'}, ft0, ft1`}`;
}

function operationCase(name: string, index: number): string {
  const line = instruction(name);
  const inSuffix = name.startsWith('f32') || name === 'convert.f32ToF64' ? 'w' : 'd';
  const outSuffix = name === 'convert.f64ToF32' ? 'w' : name === 'convert.f32ToF64' ? 'd' : inSuffix;
  const moves = ['ft0, %[a]', 'ft1, %[b]', 'ft2, %[c]'].map((operands) => `fmv.${inSuffix}.x ${operands}`);
  const moveOut = line.includes('%[result]') ? [] : [`fmv.x.${outSuffix} %[result], ft3`];
  const isNarrow = name.endsWith('32') && name.includes('.to') ? true : outSuffix === 'w' && moveOut.length > 0;
  const assembly = ['fsrm %[rm]', ...moves, 'fsflags zero', line, 'frflags %[flags]', ...moveOut]
    .map((text) => `"${text}\\n"`)
    .join(' ');
  return `    case ${index}: /* ${name} */
      asm volatile(${assembly}
        : [result] "=&r"(result), [flags] "=&r"(flags)
        : [a] "r"(v->a), [b] "r"(v->b), [c] "r"(v->c), [rm] "r"((u64)v->rm)
        : "ft0", "ft1", "ft2", "ft3");
      ${isNarrow ? 'result &= 0xffffffff;' : ''}
      break;`;
}

/** The program as C. An operation it does not know ends it with status 3, a failed system call with status 2. */
export function guestProgram(): string {
  return `typedef unsigned long u64;
typedef unsigned char u8;
struct vector { u8 operation, rm, unused[6]; u64 a, b, c; };
struct outcome { u64 bits, flags; };
_Static_assert(sizeof(struct vector) == ${vectorSize} && sizeof(struct outcome) == ${outcomeSize}, "formats of the streams");

static long call(long number, long x, long y, long z) {
  register long a7 asm("a7") = number, a0 asm("a0") = x, a1 asm("a1") = y, a2 asm("a2") = z;
  asm volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
  return a0;
}
static void end(long status) { for (;;) call(93, status, 0, 0); }

static void run(const struct vector *v, struct outcome *out) {
  u64 result = 0, flags = 0;
  switch (v->operation) {
${operationNames.map(operationCase).join('\n')}
    default: end(3);
  }
  out->bits = result;
  out->flags = flags;
}

enum { batch = 4096 };
static struct vector vectors[batch];
static struct outcome outcomes[batch];

void _start(void) {
  for (;;) {
    u64 have = 0;
    while (have < sizeof vectors) {
      long got = call(63, 0, (long)((char *)vectors + have), sizeof vectors - have);
      if (got < 0) end(2);
      if (got == 0) break;
      have += got;
    }
    u64 count = have / sizeof(struct vector);
    if (count == 0) end(0);
    for (u64 i = 0; i < count; i++) run(&vectors[i], &outcomes[i]);
    for (u64 done = 0; done < count * sizeof(struct outcome);) {
      long put = call(64, 1, (long)((char *)outcomes + done), count * sizeof(struct outcome) - done);
      if (put < 0) end(2);
      done += put;
    }
  }
}
`;
}
