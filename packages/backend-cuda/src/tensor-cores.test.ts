// Kernels meant for tensor cores reach them: their machine code, as NVRTC gives it for each architecture, holds matrix
// instructions. No GPU and no disassembler is needed: an instruction takes 16 bytes and its low 12 bits are the opcode.

import { delimiter } from 'node:path';
import { describe, expect, test } from 'vitest';
import { definitionOf } from '@darkroom/core';
import type { ArgSpec, KernelOp, Spec } from '@darkroom/core';
import { factoryOf } from '@darkroom/gpu-kernels';
import { compileOptions, sourceOf } from './compiler.ts';
import { compile, diagnose, explain, loadAddon } from './node/addon.ts';
import { addonIsMissing, architectures, skip, traitsOfArchitecture } from './node/testing.ts';

const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
const nvrtc = addonIsMissing() ? undefined : diagnose({ sitePackages, emulator: false }).libraries.nvrtc;
const missing = !nvrtc?.found && skip('nvrtc', nvrtc ? explain('nvrtc', nvrtc) : 'the addon is missing');

/** HMMA, on sm_75 and later. */
const hmma = 0x23c;

/** How often an opcode stands in the code sections of a cubin (ELF, 64 bits, little-endian). */
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

const spec = (shape: number[], strides: number[]): Spec => ({
  dtype: 'float16',
  layout: { shape, strides, offset: 0 },
});
const linear: KernelOp = { kind: 'matmul' };
const linearInputs = [spec([256, 320], [320, 1]), spec([320, 320], [1, 320])];
const conv: KernelOp = { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };
const convInputs = [
  spec([2, 320, 64, 64], [320 * 4096, 1, 64 * 320, 320]),
  spec([320, 320, 3, 3], [2880, 1, 960, 320]),
];

const attention: KernelOp = { kind: 'attention', scale: 0.158, mask: 'none' };
/** q, k and v as the UNet's attention gives them: views of [n, tokens, heads · 40]. */
const heads = (tokens: number): Spec => spec([2, 8, tokens, 40], [tokens * 320, 40, 320, 1]);
const attentionInputs = [heads(4096), heads(77), heads(77)];

describe.skipIf(missing)('machine code', () => {
  test.each(architectures)(
    'of products and attention on tensor cores multiplies matrices on sm_%i',
    { timeout: 120_000 },
    (architecture) => {
      const traits = traitsOfArchitecture(architecture);
      for (const [op, inputs] of [
        [linear, linearInputs],
        [conv, convInputs],
        [attention, attentionInputs],
      ] as const) {
        const args: ArgSpec[] = [...inputs, definitionOf<KernelOp>(op).infer(op, inputs)];
        const factory = factoryOf(op as typeof linear & { kind: 'matmul' });
        const ids = factory.choices(op as never, args, traits);
        expect(ids[0]).toMatch(/^mma/);
        const count = (id: string): number => {
          const [pass] = factory.prepare(op as never, args, id, traits, true).passes;
          const options = compileOptions(`sm_${architecture}`, false);
          return countOpcode(compile(loadAddon().nvrtc, id, sourceOf(pass!.text), options), hmma);
        };
        expect(count(ids[0]!)).toBeGreaterThanOrEqual(16);
        expect(count(ids.find((id) => !id.startsWith('mma'))!)).toBe(0);
      }
    },
  );
});
