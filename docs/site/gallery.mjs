// Draws the pictures of the schedulers' page: for each short name a strip, the same prompt and seed in 4, 8, 16 and 30
// steps. Usage, after a build: node docs/site/gallery.mjs
import { fileURLToPath } from 'node:url';
import { cpu } from '@darkroom/backend-cpu';
import { Image, schedulerAliases, StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const steps = [4, 8, 16, 30];
const device = await cpu();
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
pipe.setProgressBarConfig({ disable: true });

for (const name of Object.keys(schedulerAliases)) {
  pipe.useScheduler(name);
  const strip = [];
  for (const numInferenceSteps of steps)
    strip.push((await pipe('a fox on a sky blue background', { numInferenceSteps, seed: 5 })).images[0]);
  const { width, height, channels } = strip[0];
  const data = new Uint8ClampedArray(steps.length * width * height * channels);
  for (const [i, image] of strip.entries())
    for (let y = 0; y < height; y++) {
      const row = image.data.subarray(y * width * channels, (y + 1) * width * channels);
      data.set(row, (y * steps.length + i) * width * channels);
    }
  // A plus in an address means a blank to some servers.
  const file = new URL(`pages/schedulers/${name.replaceAll('+', 'p')}.webp`, import.meta.url);
  await new Image(steps.length * width, height, data).save(fileURLToPath(file), { quality: 90 });
  console.log(name);
}
