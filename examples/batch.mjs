// A batch: eight pictures in one call, each with a seed of its own. VAE slicing decodes them one by one: the same
// pictures from less memory.
// node examples/batch.mjs [steps]: writes batch-1.png … batch-8.png.

import { cpu } from '@darkroom/backend-cpu';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const device = await cpu({ threads: 2 });
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });

const draw = async () => {
  const { images } = await pipe(['a panda', 'a rocket on a black background'], {
    numImagesPerPrompt: 4,
    numInferenceSteps: Number(process.argv[2] ?? 10),
    guidanceScale: 4,
    seed: [1, 2, 3, 4, 5, 6, 7, 8], // a list: each picture can be drawn again alone
    // From the end of the last step on, the VAE decodes: its peak is the one that slicing lowers.
    callbackOnStepEnd: () => device.resetPeakMemory(),
  });
  return { images, peak: device.memory().peak };
};

const whole = await draw();
pipe.enableVaeSlicing();
const sliced = await draw();

const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
console.log(`decoding: peak ${mib(whole.peak)}, with VAE slicing ${mib(sliced.peak)}`);
for (const [i, image] of sliced.images.entries()) {
  if (!whole.images[i].toPng().every((byte, at) => byte === image.toPng()[at]))
    throw new Error('not the same');
  await image.save(`batch-${i + 1}.png`);
}
device[Symbol.dispose]();
