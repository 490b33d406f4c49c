// Text to image: the loop starts from noise alone.

import type { Schedule } from '../../schedulers/scheduler.ts';
import { drawNoise, scaledNoise } from '../noise.ts';
import type { LatentCodec, LatentStart, Window } from '../recipe.ts';

/** Starts from noise, drawn or given as the input `latents`, scaled to the schedule. `window`: default every step. */
export function textToImage(codec: LatentCodec, window?: (schedule: Schedule) => Window): LatentStart {
  return {
    ...(window && { window }),
    begin: ({ call, schedule, generators, dtype, device }, given) => {
      const noise = given['latents'] ?? codec.pack(drawNoise(generators, call.latentShape, dtype, device));
      return { latents: scaledNoise(noise, schedule) };
    },
  };
}
