// What a call tells of each of its pictures: how it was drawn.

import type { PictureParameters } from '../parameters/parameters.ts';
import { schedulerName } from '../schedulers/aliases.ts';
import { version } from '../version.ts';
import type { Run } from './run.ts';

/** The parameters of each picture of a run; undefined where embeddings were given, which no text tells. */
export function drawnWith(run: Run, modelName: string | undefined): readonly PictureParameters[] | undefined {
  const { call, seeds, scheduler } = run;
  const { prompts, negatives } = call.texts[0]!;
  if (!prompts) return undefined;
  const { strength } = run.recipe.start;
  const shared = {
    steps: call.schedule.numInferenceSteps ?? run.schedule.timesteps.length,
    scheduler: schedulerName(
      (scheduler.constructor as { className?: string }).className ?? scheduler.constructor.name,
      scheduler.config,
    ),
    guidanceScale: call.guidanceScale,
    ...(call.guidanceRescale !== 0 && { guidanceRescale: call.guidanceRescale }),
    ...(call.eta !== 0 && { eta: call.eta }),
    ...(call.clipSkip !== undefined && { clipSkip: call.clipSkip }),
    width: call.width,
    height: call.height,
    ...(strength !== undefined && { strength }),
    ...(modelName !== undefined && { model: modelName }),
    version: `darkroom ${version}`,
  };
  const isShared = seeds.length === 1 && call.images > 1;
  return Array.from({ length: call.images }, (_, i) => {
    const of = Math.floor(i / call.imagesPerPrompt);
    const seed = isShared ? seeds[0] : seeds[i];
    const negative = negatives?.[of];
    return {
      prompt: prompts[of]!,
      ...(negative !== undefined && { negativePrompt: negative }),
      ...shared,
      ...(seed !== undefined && { seed }),
      ...(isShared && { batchSize: call.images, batchIndex: i }),
    };
  });
}
