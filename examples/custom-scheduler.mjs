// A scheduler of your own: DDIM's step over timesteps spaced by a square, so that most steps are spent on the details.
// `schedule` makes the state of one call; `step` goes from one noise level to the next.
// node examples/custom-scheduler.mjs [steps]: writes square.png.

import { cpu } from '@darkroom/backend-cpu';
import { linearCombination } from '@darkroom/core';
import { schedulerClasses, StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

// The base brings the training table and addNoise.
const DDIM = /** @type {any} */ (schedulerClasses.DDIMScheduler);
class SquareScheduler extends DDIM {
  schedule({ numInferenceSteps: n = 25 }) {
    const last = this.trainTimesteps - 1;
    const timesteps = Array.from({ length: n }, (_, i) => Math.round(last * (1 - i / n) ** 2));
    return new SquareSchedule(timesteps, this.table.alphasCumprod);
  }
}

class SquareSchedule {
  initNoiseSigma = 1;
  order = 1;
  beginIndex = undefined;
  /** Tensors of earlier steps that later ones read: none. */
  remembered = [];

  constructor(timesteps, products) {
    this.timesteps = timesteps;
    this.products = products;
  }
  scaleModelInput(sample) {
    return sample;
  }
  setBeginIndex(i) {
    this.beginIndex = i;
  }
  /** With p the product of alphas: x0 = (x - √(1 - p)·ε) / √p, then √q·x0 + √(1 - q)·ε at the next level q. */
  step(noise, i, sample) {
    const p = this.products[this.timesteps[i]];
    const q = this.products[this.timesteps[i + 1]] ?? 1;
    const kept = Math.sqrt(q / p);
    const added = Math.sqrt(1 - q) - kept * Math.sqrt(1 - p);
    return { prevSample: linearCombination([sample, noise], [kept, added]) };
  }
  dispose() {}
  [Symbol.dispose]() {}
}

const device = await cpu({ threads: 2 });
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
pipe.scheduler = SquareScheduler.fromConfig(pipe.scheduler);
const numInferenceSteps = Number(process.argv[2] ?? 25);
const { images } = await pipe('a sunflower', { numInferenceSteps, guidanceScale: 4, seed: 2 });
await images[0].save('square.png');
device[Symbol.dispose]();
