// A kernel's parts as WGSL, the language they are written in: only declarations are added.

import { foldWidth } from '@darkroom/gpu-kernels';
import type { KernelText } from '@darkroom/gpu-kernels';

/** The source of a pipeline. `signature`: 'r' or 'w' for each storage binding. */
export interface ProgramSource {
  readonly label: string;
  readonly code: string;
  readonly signature: string;
}

export function wgsl(text: KernelText, f16: boolean): ProgramSource {
  const { label, params, buffers, shared, functions, threads, body } = text;
  const kind = { read: 'read', write: 'read_write' };
  const code = [
    f16 ? 'enable f16;' : '',
    `struct Params { ${params.map((p) => `${p.name}: ${p.type}`).join(', ')} }`,
    '@group(0) @binding(0) var<uniform> P: Params;',
    ...buffers.map(
      (b, i) => `@group(0) @binding(${i + 1}) var<storage, ${kind[b.mode]}> ${b.name}: array<${b.stored}>;`,
    ),
    ...shared.map((s) => `var<workgroup> ${s.name}: array<${s.type}, ${s.length}>;`),
    ...functions,
    `@compute @workgroup_size(${threads})`,
    'fn main(@builtin(local_invocation_index) tid: u32, @builtin(workgroup_id) wid: vec3<u32>) {',
    `  let group = wid.x + wid.y * ${foldWidth}u;`,
    '  if (group >= P.groups) { return; }',
    `  ${body}`,
    '}',
  ].join('\n');
  return { label, code, signature: buffers.map((b) => b.mode[0]).join('') };
}
