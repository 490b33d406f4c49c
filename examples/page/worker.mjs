// A worker in a page, the worker's half: draws on the browser's GPU, or on the CPU where there is none.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { DeviceError } from '@darkroom/core';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { emoji64 } from '@darkroom/emoji-64';

const open = async () => {
  if (!navigator.gpu) return cpu();
  return webgpu().catch((error) => {
    if (error instanceof DeviceError) return cpu();
    throw error;
  });
};

const draw = async ({ prompt, seed, steps }) => {
  const device = await open();
  const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device });
  const { images } = await pipe(prompt, {
    seed,
    numInferenceSteps: steps,
    guidanceScale: 4,
    callbackOnStepEnd: (_pipe, step) => postMessage({ type: 'progress', step: step + 1 }),
  });
  const { width, height, data } = images[0];
  const picture = new ImageData(width, height);
  // Red, green, blue of each pixel; ImageData has opacity, too.
  for (let i = 0; i < width * height; i++) {
    picture.data.set([...data.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  postMessage({ type: 'done', picture, device: device.backend.name });
  device[Symbol.dispose]();
};

onmessage = ({ data }) => draw(data).catch((error) => postMessage({ type: 'error', message: String(error) }));
