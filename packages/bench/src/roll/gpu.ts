// The kernel of all GPU backends: one invocation an element of the result.

import type { ArgSpec } from '@darkroom/core/backend';
import { flatBody, Shader } from '@darkroom/gpu-kernels';
import type { KernelFactory } from '@darkroom/gpu-kernels';
import type { RollOp } from './roll.ts';

export const rollKernel: KernelFactory<RollOp> = {
  choices: () => ['wgsl'],
  prepare({ axis, shift }, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const { shape, strides } = x.layout;
    const s = new Shader(traits, 'roll/wgsl', args);
    const [read, write] = [s.read(0), s.write(1)];
    const others = s.dot('x', 'i', strides.map((stride, d) => (d === axis ? 0 : stride))); // prettier-ignore
    const [size, back, step] = [s.u32('size', shape[axis]!), s.u32('back', shape[axis]! - shift), s.u32('step', strides[axis]!)]; // prettier-ignore
    const from = `${others} + ((i${axis} + ${back}) % ${size}) * ${step}`;
    const body = write.set(s.dot('y', 'i', out.layout.strides), read.get(from));
    return { dispatches: [flatBody(s, out.layout.shape, body)] };
  },
};
