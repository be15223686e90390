/** Names of the integer and float registers: numeric (`x10`, `f10`) and of the ABI (`a0`, `fa0`; RISC-V ABIs Specification, chapter 1). */

const integerNames =
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'.split(' ');

const floatNames =
  'ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11'.split(
    ' ',
  );

/** `x` for the integer registers, `f` for the float registers. */
export type RegisterFile = 'x' | 'f';

const numbers: Readonly<Record<RegisterFile, ReadonlyMap<string, number>>> = {
  x: namesToNumbers('x', [...integerNames.entries(), [8, 'fp']]),
  f: namesToNumbers('f', [...floatNames.entries()]),
};

/** The register's name, numeric or of the ABI. */
export function registerName(file: RegisterFile, number: number, style: 'numeric' | 'abi'): string {
  const abi = (file === 'x' ? integerNames : floatNames)[number];
  return style === 'abi' && abi !== undefined ? abi : `${file}${number}`;
}

/** The number of the register called `name` in either style; undefined when there is none. */
export function registerNumber(file: RegisterFile, name: string): number | undefined {
  return numbers[file].get(name);
}

function namesToNumbers(file: RegisterFile, abi: readonly (readonly [number, string])[]): ReadonlyMap<string, number> {
  const numeric = Array.from({ length: 32 }, (_, number) => [`${file}${number}`, number] as const);
  return new Map([...numeric, ...abi.map(([number, name]) => [name, number] as const)]);
}
