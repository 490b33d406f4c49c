// Trace, save, load, replace: a UNet is recorded once, timed traced and not, saved without its weights, and read in
// place of the UNet of another pipeline.
// node examples/trace-unet.mjs [steps]: writes unet.graph.json, eager.png and traced.png.

import { cpu } from '@darkroom/backend-cpu';
import { loadTraced, randomNormal, Scope, scope, trace } from '@darkroom/core';
import { StableDiffusionPipeline, unetInputs } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const numInferenceSteps = Number(process.argv[2] ?? 25);
const options = { numInferenceSteps, guidanceScale: 4, seed: 1 };
const device = await cpu({ threads: 2 });
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
await (await pipe('a fox on a blue background', options)).images[0].save('eager.png');

// Only the shapes of the inputs count for the trace; the clock wants real ones, which `memory` frees.
const [sample, , { encoderHiddenStates: text }] = unetInputs(pipe);
const memory = new Scope();
/** @type {Parameters<typeof pipe.unet.call>} */
const inputs = memory.run(() => [
  randomNormal(sample.shape, { device, seed: 1 }),
  500,
  { encoderHiddenStates: randomNormal(text.shape, { device, seed: 2 }) },
]);
const traced = await trace(pipe.unet, inputs);
console.log(traced.summary());

/** Milliseconds of a call; kernels run later than they are called, so the clock waits for them. */
const time = async (call) => {
  for (let i = 0; i < 3; i++) scope(() => void call());
  await device.idle();
  const start = performance.now();
  for (let i = 0; i < numInferenceSteps; i++) scope(() => void call());
  await device.idle();
  return (performance.now() - start) / numInferenceSteps;
};
const { unet } = pipe;
console.log(`eager: ${(await time(() => unet.call(...inputs))).toFixed(1)} ms`);
console.log(`traced: ${(await time(() => traced.call(...inputs))).toFixed(1)} ms`);

// Shapes and ops; the weights stay in the model's own files.
await traced.save('unet.graph.json');
for (const done of [memory, traced, pipe]) done[Symbol.dispose]();

// In another program, on any backend:
const other = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
other.unet = await loadTraced('unet.graph.json', { device, params: other.unet.stateDict() });
await (await other('a fox on a blue background', options)).images[0].save('traced.png');
device[Symbol.dispose]();
