// Text to image: a model, a prompt and a seed give a picture, which says in its file how it was drawn.
// node examples/text-to-image.mjs [steps]: writes fox.png.

import { cpu } from '@darkroom/backend-cpu';
import { Image, StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const device = await cpu({ threads: 2 });
// emoji64 is a list of files; a folder or a hub id of any Stable Diffusion checkpoint stands here as well.
const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
const { images } = await pipe('a fox on a blue background', {
  numInferenceSteps: Number(process.argv[2] ?? 25),
  guidanceScale: 4,
  seed: 1,
});
await images[0].save('fox.png');

const { parameters } = await Image.load('fox.png');
console.log(parameters);
device[Symbol.dispose]();
