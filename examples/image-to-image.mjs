// Image to image: a picture is drawn over, and a part of one is drawn anew. The three pipelines share one model.
// node examples/image-to-image.mjs [steps]: writes fox.png, red-fox.png and half-fox.png.

import { cpu } from '@darkroom/backend-cpu';
import {
  Image,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
} from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const device = await cpu({ threads: 2 });
const options = { numInferenceSteps: Number(process.argv[2] ?? 25), guidanceScale: 4, seed: 1 };

const text = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
const fox = (await text('a fox on a blue background', options)).images[0];
await fox.save('fox.png');

// Strength 1 would replace everything; 0.8 runs the last 80 % of the steps.
const over = StableDiffusionImg2ImgPipeline.fromPipe(text);
const red = await over('a fox on a red background', { ...options, image: fox, strength: 0.8 });
await red.images[0].save('red-fox.png');

// White is painted, black kept: here the right half.
const mask = new Image(
  64,
  64,
  new Uint8ClampedArray(64 * 64 * 3).map((_, i) => (i % 192 < 96 ? 0 : 255)),
);
const inside = StableDiffusionInpaintPipeline.fromPipe(text);
const half = await inside('a tiger on a blue background', { ...options, image: fox, maskImage: mask });
await half.images[0].save('half-fox.png');
device[Symbol.dispose]();
