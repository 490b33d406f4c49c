// An op of your own: `roll` moves elements along an axis and brings in at the start what leaves at the end. It has a
// definition for every device and a kernel for the CPU, and here makes a picture that tiles: latents roll by half in
// each step, so that no edge stays one. docs/add-an-op.md tells of GPU kernels and of ops in saved traces.
// node examples/custom-op.mjs [steps]: writes tile.png.

import { cpu, registerCpuKernels } from '@darkroom/backend-cpu';
import { concat } from '@darkroom/core';
import { dispatch, layoutOf, registerOp, size } from '@darkroom/core/backend';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

/** @type {import('@darkroom/core/backend').OpDefinition<any>} */
const definition = {
  kind: 'roll',
  inputs: [1, 1],
  attributes: { axis: size, shift: size },
  infer: (op, [x]) => ({ dtype: x.dtype, layout: layoutOf(x.layout.shape) }),
  cost: () => ({ flops: 0, bytes: 0 }),
  tolerance: () => ({ atol: 0, rtol: 0 }),
  // The same from ops that every device has: what runs where there is no kernel.
  decompose({ axis, shift }, [x]) {
    const start = x.shape[axis] - shift;
    return concat([x.slice(axis, start), x.slice(axis, 0, start)], axis);
  },
};
registerOp(definition);

let runs = 0;
/** @type {import('@darkroom/backend-cpu').CpuKernels<any>} */
const kernels = {
  reference({ axis, shift }, [x, out]) {
    runs++;
    const { shape, strides } = out;
    const visit = (d, from, to) => {
      if (d === shape.length) return out.set(to, x.get(from));
      for (let i = 0; i < shape[d]; i++) {
        const source = d === axis ? (i - shift + shape[d]) % shape[d] : i;
        visit(d + 1, from + source * x.strides[d], to + i * strides[d]);
      }
    };
    visit(0, 0, 0);
  },
};
registerCpuKernels('roll', kernels);
const roll = (x, axis, shift) => dispatch(definition, { kind: 'roll', axis, shift }, [x]);

const device = await cpu({ threads: 2 });
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
const numInferenceSteps = Number(process.argv[2] ?? 24);
const { images } = await pipe('a sunflower', {
  numInferenceSteps,
  guidanceScale: 4,
  seed: 2,
  callbackOnStepEnd: (_pipe, _step, _timestep, { latents }) => ({
    latents: roll(latents, 3, latents.shape[3] / 2),
  }),
});
await images[0].save('tile.png');
console.log(`the kernel ran ${runs} times`);
device[Symbol.dispose]();
