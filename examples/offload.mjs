// Offload: weights stay in host memory and visit the device when they are needed, by model or by groups of layers. The
// pictures are the same bits, the peak is lower.
// node examples/offload.mjs [steps]: writes none.png, model.png and sequential.png.

import { cpu } from '@darkroom/backend-cpu';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const numInferenceSteps = Number(process.argv[2] ?? 10);
const device = await cpu({ threads: 2 });

const ways = {
  none: (pipe) => pipe.to(device),
  // One component at a time: text encoder, UNet, VAE.
  model: (pipe) => pipe.enableModelCpuOffload(),
  // Groups of layers of at most this many bytes: what computes, and the next.
  sequential: (pipe) => pipe.enableSequentialCpuOffload({ maxMemory: 2 ** 20 }),
};
for (const [name, enable] of Object.entries(ways)) {
  // Nothing touches the device yet.
  const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device, weights: 'host' });
  device.resetPeakMemory();
  await enable(pipe);
  const { images } = await pipe('a pizza on a yellow background', {
    numInferenceSteps,
    guidanceScale: 4,
    seed: 3,
  });
  const { live, peak } = device.memory();
  console.log(`${name}: peak ${peak} bytes, ${live} after the call`);
  await images[0].save(`${name}.png`);
  pipe.dispose();
}
device[Symbol.dispose]();
