// Kernels meant for tensor cores reach them: their machine code, as NVRTC gives it for each architecture, holds matrix
// instructions, and no memory for registers that did not suffice. No GPU and no disassembler is needed: an instruction
// takes 16 bytes and its low 12 bits are the opcode.

import { delimiter } from 'node:path';
import { describe, expect, test } from 'vitest';
import { activations } from '@darkroom/core';
import { definitionOf } from '@darkroom/core/backend';
import type { DType, Expr } from '@darkroom/core';
import type { ArgSpec, Spec } from '@darkroom/core/backend';
import type { SharedOp } from '@darkroom/gpu-kernels';
import { compileOptions, sourceOf } from './compiler.ts';
import { diagnose, explain, loadAddon } from './node/addon.ts';
import { factoryOf } from './kernels/index.ts';
import { skip } from '@darkroom/core/testing';
import { addonIsMissing, architectures, traitsOfArchitecture } from './node/testing.ts';

const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
const nvrtc = addonIsMissing() ? undefined : diagnose({ sitePackages, emulator: false }).libraries.nvrtc;
const missing = !nvrtc?.found && skip('nvrtc', nvrtc ? explain('nvrtc', nvrtc) : 'the addon is missing');

/** HMMA, on sm_75 and later. */
const hmma = 0x23c;

/** Number of times that an opcode stands in the code sections of a cubin (ELF, 64 bits, little-endian). */
function countOpcode(cubin: Uint8Array, opcode: number): number {
  const view = new DataView(cubin.buffer, cubin.byteOffset, cubin.byteLength);
  const at = Number(view.getBigUint64(0x28, true));
  const [size, count] = [view.getUint16(0x3a, true), view.getUint16(0x3c, true)];
  let found = 0;
  for (let i = 0; i < count; i++) {
    const header = at + i * size;
    const isCode = view.getUint32(header + 4, true) === 1 && (view.getUint32(header + 8, true) & 4) !== 0;
    if (!isCode) continue;
    const [start, length] = [0x18, 0x20].map((o) => Number(view.getBigUint64(header + o, true))) as [
      number,
      number,
    ];
    for (let p = start; p + 16 <= start + length; p += 16)
      if ((view.getUint16(p, true) & 0xfff) === opcode) found++;
  }
  return found;
}

const spec = (shape: number[], strides: number[], dtype: DType = 'float16'): Spec => ({
  dtype,
  layout: { shape, strides, offset: 0 },
});
interface Problem {
  readonly name: string;
  readonly op: SharedOp;
  readonly inputs: readonly Spec[];
}
const bias: Expr = ['add', ['in', 0], ['in', 1]];
const linear = (dtype: DType): Problem => ({
  name: `linear ${dtype}`,
  op: { kind: 'matmul', precision: 'tf32', epilogue: bias },
  inputs: [spec([256, 320], [320, 1], dtype), spec([320, 320], [1, 320], dtype), spec([320], [1], dtype)],
});
const conv: Problem = {
  name: 'conv2d',
  op: { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1, epilogue: activations.silu(bias) },
  inputs: [
    spec([2, 320, 64, 64], [320 * 4096, 1, 64 * 320, 320]),
    spec([320, 320, 3, 3], [2880, 1, 960, 320]),
    spec([320, 1, 1], [1, 1, 1]),
  ],
}; // prettier-ignore
/** A matmul whose operands do not lie along k, so that tiles come through registers. */
const strided: Problem = {
  name: 'strided matmul',
  op: { kind: 'matmul' },
  inputs: [spec([256, 320], [320, 1]), spec([320, 320], [320, 1])],
};
/** q, k and v as the UNet's attention gives them: views of [n, tokens, heads · d]. */
const attention = (d: number): Problem => ({
  name: `attention ${d}`,
  op: { kind: 'attention', scale: 0.158, mask: 'none' },
  inputs: [4096, 77, 77].map((tokens) => spec([2, 8, tokens, d], [tokens * 8 * d, d, 8 * d, 1])),
});
const problems = [linear('float16'), linear('bfloat16'), linear('float32'), conv, strided, ...[40, 64, 80, 96, 128, 160, 256, 512].map(attention)]; // prettier-ignore

/** Dtypes and heads by architecture: bfloat16 and tf32 need Ampere, the widest heads the memory of Ampere. */
const lacks = ({ name }: Problem, architecture: number): boolean =>
  architecture === 75 && ['linear bfloat16', 'linear float32', 'attention 512'].includes(name);

// One of each way that kernels differ: no copies of their own, with them, and the largest shared memory.
const tried = process.env['DARKROOM_PROPERTY_RUNS'] === undefined ? [75, 80, 90] : architectures;

describe.skipIf(missing)('machine code', () => {
  test.each(tried)(
    'for tensor cores multiplies matrices and keeps to its registers on sm_%i',
    async (architecture) => {
      const traits = traitsOfArchitecture(architecture);
      let kernels = 0;
      for (const problem of problems) {
        const { name, op, inputs } = problem;
        const args: ArgSpec[] = [...inputs, definitionOf(op).infer(op as never, inputs)];
        const factory = factoryOf(op)!;
        const ids = factory.choices(op, args, traits);
        const tensor = ids.filter((id) => /^(mma[0-9x]*|direct)$/.test(id)); // sums in parts: the same kernels
        expect(tensor.length > 0, `${name} has kernels for tensor cores`).toBe(!lacks(problem, architecture));
        const build = async (id: string): Promise<{ hmma: number; spilled: number }> => {
          const [dispatch] = factory.prepare(op, args, id, traits, true).dispatches;
          const options = [...compileOptions(`sm_${architecture}`, false), '--ptxas-options=-v'];
          const { cubin, log } = await loadAddon().nvrtc.compileAsync(sourceOf(dispatch!.text), id, options);
          const spills = /(\d+) bytes spill stores/.exec(log);
          expect(cubin, `${name}/${id}: ${log}`).toBeDefined();
          return { hmma: countOpcode(cubin!, hmma), spilled: Number(spills?.[1] ?? NaN) };
        };
        for (const [i, built] of (await Promise.all(tensor.map(build))).entries()) {
          expect(built.hmma, `${name}/${tensor[i]}`).toBeGreaterThanOrEqual(8);
          // A dozen values that are rarely needed may go; a kernel whose sums do not fit spills hundreds of bytes.
          expect(built.spilled, `bytes spilled by ${name}/${tensor[i]}`).toBeLessThanOrEqual(48);
          kernels++;
        }
        const plain = ids.find((id) => !/^(mma|direct)/.test(id));
        if (plain) expect((await build(plain)).hmma, `${name}/${plain}`).toBe(0);
      }
      expect(kernels).toBeGreaterThan(20);
    },
  );
});
