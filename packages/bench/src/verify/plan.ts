// All stages of verify, the most important first: when the budget ends, what is left is listed as not run. Shares are
// limits, not expectations; together they may exceed the budget.

import { box } from './box.ts';
import { bestOf, features, timeImage } from './image.ts';
import { machine } from './machine.ts';
import { modes } from './models.ts';
import type { ModeName } from './models.ts';
import { partNames, timePart, tunePart } from './modules.ts';
import type { PartName } from './modules.ts';
import { ops } from './ops.ts';
import { rates } from './rates.ts';
import type { Stage } from './stage.ts';
import { picture } from './picture.ts';
import { sanitize } from './sanitize.ts';
import { smoke, smokeKernels, vitalParts } from './smoke.ts';
import { choices, conformance, kernelSuite } from './suites.ts';
import { torchReplay } from './torch.ts';
import { silence } from './watch.ts';

const check = (name: string, seconds: number, run: Stage['run']): Stage => ({
  name,
  seconds,
  timing: false,
  run,
});
const timing = (name: string, seconds: number, run: Stage['run']): Stage => ({
  name,
  seconds,
  timing: true,
  run,
});

const tuneSeconds: Readonly<Record<PartName, number>> = { unet: 80, vae: 50, text: 20 };

/** Every part and the whole picture in one mode, tuned first. */
const modeStages = (mode: ModeName): Stage[] => [
  ...partNames.map((part) => timing(`tune ${part} ${mode}`, tuneSeconds[part], tunePart(mode, part))),
  ...partNames.map((part) => timing(`${part} ${mode}`, 30, timePart(mode, part))),
];

export const plan: readonly Stage[] = [
  { ...check('smoke', 60, smoke), silence, vital: vitalParts },
  check('machine', 30, machine),
  { ...check('conformance', 120, conformance), silence },
  { ...check('kernels', 60, kernelSuite), silence },
  { ...check('choices', 90, choices), silence },
  check('picture', 60, picture),
  timing('rates', 40, rates),
  timing('torch before', 100, torchReplay('torch before', Object.keys(modes))),
  ...modeStages('float16'),
  timing('image float16', 60, timeImage(bestOf('float16'))),
  timing('torch after', 50, torchReplay('torch after', ['float16'])),
  ...modeStages('tf32'),
  timing('image tf32', 40, timeImage(bestOf('tf32'))),
  ...modeStages('float32'),
  timing('image float32', 50, timeImage(bestOf('float32'))),
  ...features.map((setting) => timing(`image ${setting.name}`, 50, timeImage(setting))),
  timing('ops', 40, ops),
];

/** Stages that only visits run. */
const more: readonly Stage[] = [
  check('box', 10, box),
  {
    ...timing('unet float16 own', 40, timePart('float16', 'unet', ' own')),
    env: { DARKROOM_CUDA_LIBRARIES: 'none' },
  },
  {
    ...timing('unet float16 libraries', 50, timePart('float16', 'unet', ' libraries')),
    env: { DARKROOM_CUDA_LIBRARIES: 'all' },
  },
  timing('torch float16 before', 50, torchReplay('torch float16 before', ['float16'], ['unet'])),
  timing('torch float16 after', 20, torchReplay('torch float16 after', ['float16'], ['unet'])),
  check('smoke kernels', 30, smokeKernels),
  check('racecheck', 25, sanitize('racecheck')),
  check('memcheck', 20, sanitize('memcheck')),
];

/** @throws Error where there is no such stage. */
export function stageNamed(name: string): Stage {
  const all = [...plan, ...more];
  const stage = all.find((s) => s.name === name);
  if (!stage) throw new Error(`verify: no stage '${name}'; there are ${all.map((s) => s.name).join(', ')}`);
  return stage;
}
