// Backends are switched at run time: a pipeline draws on the CPU, moves to the GPU, and back. The same seed gives the
// same latents everywhere, so the pictures differ by rounding alone.
// node examples/switch-backends.mjs [steps]: writes cpu.png, webgpu.png where there is a GPU, and back.png.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { DeviceError } from '@darkroom/core';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const host = await cpu({ threads: 2 });
const gpu = await webgpu().catch((error) => {
  if (!(error instanceof DeviceError)) throw error;
  console.log(`no GPU here: ${error.message}`);
});

const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device: host });
const draw = async (name) => {
  const { images } = await pipe('a robot on a pink background', {
    numInferenceSteps: Number(process.argv[2] ?? 10),
    guidanceScale: 4,
    seed: 5,
  });
  await images[0].save(`${name}.png`);
  return images[0];
};

const first = await draw('cpu');
if (gpu) {
  await pipe.to(gpu);
  const second = await draw('webgpu');
  const apart = first.data.reduce((most, v, i) => Math.max(most, Math.abs(v - second.data[i])), 0);
  console.log(`${gpu.caps.fingerprint}: at most ${apart} of 255 apart`);
  await pipe.to(host);
  gpu[Symbol.dispose]();
}
const last = await draw('back');
if (!first.data.every((v, i) => v === last.data[i]))
  throw new Error('the way there and back changed the weights');
host[Symbol.dispose]();
