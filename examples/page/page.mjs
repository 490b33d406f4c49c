// A worker in a page, the page's half: asks worker.mjs for a picture and paints it. Run `npx vite page` in examples/.

import { createClient } from '@darkroom/diffusers/client';
import { emoji64 } from '@darkroom/emoji-64';

const query = new URLSearchParams(location.search);
const state = document.querySelector('#state');
const paint = (pixels) => document.querySelector('canvas').getContext('2d').putImageData(pixels, 0, 0);

try {
  const client = await createClient({
    worker: () => new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' }),
    model: emoji64,
    device: query.get('device') ?? undefined, // the first that opens
  });
  const { images, device } = await client.generate(query.get('prompt') ?? 'a fox on a blue background', {
    seed: Number(query.get('seed') ?? 1),
    numInferenceSteps: Number(query.get('steps') ?? 25),
    guidanceScale: 4,
    onPreview: paint,
    onProgress: (progress) => {
      if (progress.stage === 'draw') state.textContent = `step ${progress.step} of ${progress.steps}`;
    },
  });
  paint(images[0].pixels);
  state.textContent = `done on ${device.name}`;
  client.dispose();
} catch (error) {
  state.textContent = `${error.name}: ${error.message}`;
}
